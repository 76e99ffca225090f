"""List the scans of a folder in a sheet, one row per scan.

Sources: phantom (the embedded cohort; its scans need not be simulated yet), the published folders of open_ms_data
(open_ms, open_ms_coregistered, open_ms_cross_sectional), MSLesSeg, ISBI 2015 and MSSEG-2, and bids. docs/data.md tells
where to get each, and what it lacks.
"""

import argparse
import logging
from pathlib import Path

from msdiff.cohort.sources import SOURCES

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--source", required=True, choices=list(SOURCES), help="layout of the folder")
    parser.add_argument("--root", required=True, type=Path, help="folder that holds the scans")
    parser.add_argument("--out", required=True, type=Path, help="sheet to write (TSV)")
    parser.add_argument(
        "--interval-days", type=int, help="mslesseg, isbi2015, msseg2, bids: nominal days from session to session"
    )
    parser.add_argument(
        "--rater", type=int, help="isbi2015: 1 (when left out) or 2; msseg2: 1 to 4, the consensus when left out"
    )
    parser.add_argument(
        "--variant",
        help="open_ms_cross_sectional: raw (when left out), coregistered, coregistered_resampled or MNI; "
        "isbi2015: preprocessed (when left out) or orig",
    )
    parser.add_argument("--arm-column", help="bids: column of participants.tsv that names the treatment arm")
    parser.add_argument("--contrasts", nargs="+", help="phantom: contrasts to list; all it has, when left out")
    parser.add_argument(
        "--patients-per-folder",
        type=int,
        help="phantom: patients of a batch, where they lie in batches",
    )
    parser.add_argument("--settings", help="phantom: its settings as JSON")


def run(arguments: argparse.Namespace) -> None:
    """Write the sheet."""
    from msdiff.cohort.sheets import write_sheet
    from msdiff.cohort.sources.listing import list_scans
    from msdiff.phantom.settings import PhantomSettings
    from msdiff.settings import read

    names = ("interval_days", "rater", "variant", "arm_column", "contrasts", "patients_per_folder")
    options = {name: getattr(arguments, name) for name in names}
    if arguments.settings is not None:
        options["settings"] = read(PhantomSettings, arguments.settings, "phantom")
    table = list_scans(arguments.source, arguments.root, options)
    write_sheet(table, arguments.out)
    patients = table.groupby("subject").size()
    log.info(
        "wrote %s: %d scans of %d patients, %d of them with a follow-up",
        arguments.out,
        len(table),
        len(patients),
        (patients > 1).sum(),
    )
