"""Sentences on the scans and their quality."""

from msdiff.report.imaging.scans import ScanPart, ScanParts
from msdiff.report.phrases import count
from msdiff.report.run import Run


def about_quality(run: Run) -> str:
    """What the measures say of the scans, and what they cannot."""
    ours = run.ours("quality")
    flagged = ours[ours["flagged"] > 0]
    found = [f"{row.measure} ({count(row.flagged, 'scan')})" for row in flagged.itertuples()]
    beyond = f"Outside the accepted range: {'; '.join(found)}." if found else "No scan lies outside the limits."
    return f"{beyond} Numbers find gross faults only; look at the pictures for others."


def about_flagged_scans(scans: ScanParts) -> str:
    """The flagged scans with their reasons, and how to leave one out."""
    if not scans.flagged:
        return f"none of {len(scans.scans)}"
    names = "; ".join(f"{scan.name}: {scan.flag}" for scan in scans.flagged)
    return (
        f"{len(scans.flagged)} of {len(scans.scans)}, worst first. {names}. To leave a scan out, write the "
        "reason into the column exclude of the sheet and run again."
    )


def about_excluded_scans(scans: ScanParts) -> str:
    """The scans that the sheet leaves out, with its reasons."""
    return "; ".join(f"{name}: {reason}" for name, reason in scans.excluded) or "none"


def scan_facts(run: Run) -> dict[str, str]:
    """The flagged and the excluded scans."""
    if run.scans is None:
        return {}
    return {"Flagged scans": about_flagged_scans(run.scans), "Excluded scans": about_excluded_scans(run.scans)}


def shown_scans(run: Run) -> list[ScanPart]:
    """The scans of the page, worst first."""
    return [] if run.scans is None else run.scans.scans
