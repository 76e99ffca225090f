"""New and enlarging lesions by treatment arm, in the form of NET2's table 1.

A patient's count at a session is the number of components of the change mask since the session before it. A row is the
mean over the arm's patients, and the share of them with at least one.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from msdiff.errors import BadInput
from msdiff.lists import read_list
from msdiff.stack.pairs import PAIR_COLUMNS
from msdiff.tables import published
from msdiff.tables.estimates import estimate
from msdiff.tables.layout import TableSettings, assemble, with_intervals
from msdiff.tables.registry import Table, each

ALL_ARMS = "all"
# The paper's sessions: always columns, empty where a cohort does not have them.
PUBLISHED_SESSIONS = ["w048", "w096"]
ARMS = [row["arm"] for row in published.COHORT if row["arm"] != ALL_ARMS]


def cohort_table(slices: Mapping[str, pd.DataFrame], settings: TableSettings) -> pd.DataFrame:
    """One row per arm, and one for all, of each cohort's index of slices (see msdiff.stack.pairs), and the paper's.

    `slices` holds them by the cohort's name.
    """
    counts = {cohort: _counts(index) for cohort, index in slices.items()}
    sessions = sorted({*PUBLISHED_SESSIONS, *(session for table in counts.values() for session in table.columns)})
    rows = [
        {"cohort": cohort, "arm": arm, **_row(group, sessions, settings)}
        for cohort, table in counts.items()
        for arm, group in _arms(table)
    ]
    return assemble(rows, published.COHORT, columns(sessions))


def columns(sessions: list[str]) -> list[str]:
    """The table's columns after `source`, for follow-up sessions such as w048."""
    metrics = [f"mean_net2_{session}" for session in sessions] + [f"active_percent_{session}" for session in sessions]
    return ["cohort", "arm", "n", *with_intervals(metrics)]


def _counts(slices: pd.DataFrame) -> pd.DataFrame:
    """Change counts by patient (index: arm, subject) and follow-up session (columns), NaN where there is no pair."""
    pairs = slices.drop_duplicates(["subject", "follow_up_session"])
    session = pairs["follow_up_session"].str.removeprefix("ses-")
    arm = pairs["arm"].astype(object).fillna("").astype(str)
    by_patient = pairs.assign(arm=arm, session=session).set_index(["arm", "subject", "session"])["scan_change_count"]
    return by_patient.astype(float).unstack("session").sort_index()


def _arms(counts: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The patients of each arm, in the paper's order, then of all; those without an arm are in the last only."""
    groups = {str(arm): group for arm, group in counts.groupby(level="arm") if arm}
    order = sorted(groups, key=lambda arm: (ARMS.index(arm) if arm in ARMS else len(ARMS), arm))
    return [*((arm, groups[arm]) for arm in order), (ALL_ARMS, counts)]


def _row(counts: pd.DataFrame, sessions: list[str], settings: TableSettings) -> dict[str, float]:
    row: dict[str, float] = {"n": len(counts)}
    for session in sessions:
        if session not in counts:
            continue
        present = counts[session].dropna().to_numpy()
        row |= estimate(f"mean_net2_{session}", present, settings)
        row |= estimate(f"active_percent_{session}", 100.0 * (present > 0).astype(np.float64), settings)
    return row


def _of_cohorts(cohorts: Sequence[str], slices: Sequence[pd.DataFrame], settings: TableSettings) -> pd.DataFrame:
    if len(cohorts) != len(slices):
        raise BadInput(f"expected an index of slices for each of the cohorts {', '.join(cohorts)}, got another number")
    return cohort_table(dict(zip(cohorts, slices, strict=True)), settings)


def _read_slices(path: str) -> pd.DataFrame:
    return read_list(path, [*PAIR_COLUMNS, "scan_change_count"])


TABLE = Table(
    title="New lesions by treatment arm",
    make=_of_cohorts,
    inputs={"cohorts": each(str), "slices": each(_read_slices)},
    settings={"settings": ("tables", TableSettings)},
)
