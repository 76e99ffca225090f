"""Where scans come from: each source lists the scans it knows in a sheet (msdiff.cohort.sheets).

A source is a function of a folder, and of options by keyword, that returns one row per scan with the sheet's columns;
paths are under that folder. Options without a default are needed. What it leaves out it names in the log, and it raises
BadInput where nothing is left.
"""

SOURCES = {
    "phantom": "msdiff.cohort.sources.phantom:index_phantom",
    "open_ms": "msdiff.cohort.sources.open_ms:index_open_ms",
    "open_ms_coregistered": "msdiff.cohort.sources.open_ms:index_open_ms_coregistered",
    "open_ms_cross_sectional": "msdiff.cohort.sources.open_ms_cross_sectional:index_open_ms_cross_sectional",
    "mslesseg": "msdiff.cohort.sources.mslesseg:index_mslesseg",
    "isbi2015": "msdiff.cohort.sources.isbi2015:index_isbi2015",
    "msseg2": "msdiff.cohort.sources.msseg2:index_msseg2",
    "bids": "msdiff.cohort.sources.bids:index_bids",
}
