"""Sentences on the scans, their quality, and what the run cost."""

import numpy as np
import pandas as pd

from msdiff.report.scans import ScanParts
from msdiff.report.sentences.phrases import Run, count, estimate, listed
from msdiff.report.words import write


def about_cohort(run: Run) -> str:
    """How much there is to learn from."""
    ours = run.ours("cohort")
    totals = ours[ours["arm"] == "all"]
    several = len(totals) > 1
    found = [
        _about_patients(total, f"In {write(str(total['cohort']))} " if several else "")
        for _, total in totals.iterrows()
    ]
    if ours["arm"].nunique() > 2:
        found.append(
            "Arms are compared as they are in the data: a difference between them is no effect of a treatment."
        )
    return " ".join(text for text in found if text)


def _about_patients(total: pd.Series, of_whom: str) -> str:
    counts = [
        f"{estimate(total, column)} new lesions at {column.removeprefix('mean_net2_')}"
        for column in total.index
        if column.startswith("mean_net2_") and not column.endswith(("_lo", "_hi")) and not np.isnan(total[column])
    ]
    n = int(total["n"])
    return (
        f"{of_whom}{count(n, 'patient')} {'has' if n == 1 else 'have'} {listed(counts)} on average." if counts else ""
    )


def about_compute(run: Run) -> str:
    """Where the time went."""
    ours = run.ours("compute")
    slowest, hours, jobs = ours.loc[ours["wall_hours"].idxmax()], ours["wall_hours"].sum(), int(ours["jobs"].sum())
    share = round(100 * slowest["wall_hours"] / hours) if hours else 0
    return (
        f"{count(jobs, 'job')} took {duration(hours)} in all, {share} % of it in {write(slowest['rule'])}. "
        "Hours on another machine, and at another size of network and cohort, cannot be compared with the paper's."
    )


def about_quality(run: Run) -> str:
    """What the measures say of the scans, and what they cannot."""
    ours = run.ours("quality")
    flagged = ours[ours["flagged"] > 0]
    found = [f"{row.measure} ({count(row.flagged, 'scan')})" for row in flagged.itertuples()]
    beyond = f"Outside the accepted range: {'; '.join(found)}." if found else "No scan lies outside the limits."
    return f"{beyond} Numbers find gross faults; look at the pictures for the others."


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


def duration(hours: float) -> str:
    """Hours, or minutes where they are few."""
    return f"{hours:.1f} hours" if hours >= 1 else f"{60 * hours:.1f} minutes"


def patients_with_pairs(run: Run) -> int | None:
    """Patients of the study with a follow-up, of all splits; None where there is no table of the cohort."""
    return patients_of(run, str(run.setting("study")))


def patients_of(run: Run, cohort: str) -> int | None:
    """Patients of a cohort with a follow-up, of all splits; None where no table counts them."""
    ours = run.ours("cohort")
    if ours.empty:
        return None
    totals = ours.loc[(ours["arm"] == "all") & (ours["cohort"] == cohort), "n"]
    return int(totals.iloc[0]) if len(totals) else None
