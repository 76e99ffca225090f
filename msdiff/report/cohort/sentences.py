"""Sentences on the patients of a run."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from msdiff.report.phrases import count, estimate, listed
from msdiff.report.run import SPLITS, Run, patients_with_pairs, simulated
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


def about_patients(run: Run) -> Iterator[str]:
    """Whose scans went in."""
    patients = patients_with_pairs(run)
    splits = listed([f"{n} {SPLITS.get(split, split)}" for split, n in run.splits.items()])
    of_whom = f", and is split into {splits}" if splits else ""
    if patients is not None:
        yield (f"The cohort {run.setting('study')} has {count(patients, 'patient')} with a follow-up scan{of_whom}.")
    if simulated(run):
        yield "It is the embedded cohort: its scans are simulated, and no patient was scanned."


def about_limits(run: Run) -> Iterator[str]:
    """What simulated scans do not show."""
    if simulated(run):
        yield "Numbers on simulated scans say nothing about patients."


def cohort_facts(run: Run) -> dict[str, str]:
    """The cohort and its patients by split."""
    found = {}
    patients = patients_with_pairs(run)
    if patients is not None:
        found["Cohort"] = f"{run.setting('study')}: {count(patients, 'patient')} with a follow-up"
    if run.splits:
        found["Patients"] = ", ".join(f"{n} {split}" for split, n in run.splits.items())
    return found
