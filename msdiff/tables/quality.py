"""Quality control: one row per scan, and what the cohort is like in one row per measure."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from msdiff.errors import BadInput
from msdiff.lists import read_results
from msdiff.preprocess.quality import MEASURES, Limit
from msdiff.tables.estimates import estimate
from msdiff.tables.layout import OURS, TableSettings, assemble, with_intervals
from msdiff.tables.registry import Table, each, one

log = logging.getLogger(__name__)

COLUMNS = ["cohort", "subject", "session", "contrasts", *MEASURES, "score", "flag"]
SUMMARY_COLUMNS = [
    *("source", "cohort", "measure", "n"),
    *with_intervals(["median"]),
    *("lowest", "highest", "accepted", "flagged"),
]


def quality_table(folders: Sequence[Path], cohort: str) -> pd.DataFrame:
    """One row per scan, from the folders of patients' folders that `check-quality` wrote; flagged scans are logged."""
    paths = []
    for folder in folders:
        found = list(folder.glob("*/quality.tsv"))
        if not found:
            raise BadInput(f"{folder}: expected a quality.tsv per patient, found none; run check_quality again")
        paths += found
    rows = [read_results(path, COLUMNS[1:]) for path in sorted(paths, key=lambda path: path.parent.name)]
    scans = pd.concat([row.dropna(axis=1, how="all") for row in rows]).assign(cohort=cohort)
    table = assemble(scans.to_dict("records"), [], COLUMNS)
    for scan in table[table["flag"].notna()].itertuples():
        log.warning("%s %s: %s", scan.subject, scan.session, scan.flag)
    return table


def summary(scans: pd.DataFrame, limits: Mapping[str, Limit], settings: TableSettings) -> pd.DataFrame:
    """One row per measure that any scan has: the median over patients of their sessions' mean, with its interval.

    `lowest` and `highest` are those of any scan, `accepted` the limits in words, `flagged` the scans beyond them.
    """
    rows = []
    for name, (words, unit) in MEASURES.items():
        values = scans[name].astype(float)
        if values.isna().all():
            continue
        of_patients = values.groupby(scans["subject"]).mean().dropna().to_numpy()
        low, high = limits.get(name, (None, None))
        beyond = np.zeros(len(values), dtype=bool)
        beyond |= (values < (-np.inf if low is None else low)).to_numpy()
        beyond |= (values > (np.inf if high is None else high)).to_numpy()
        rows.append(
            {
                "source": OURS,
                "cohort": scans["cohort"].iloc[0],
                "measure": f"{words}, {unit}" if unit else words,
                "n": len(of_patients),
                **estimate("median", of_patients, settings, _median),
                "lowest": values.min(),
                "highest": values.max(),
                "accepted": _accepted(low, high),
                "flagged": int(beyond.sum()),
            }
        )
    return pd.DataFrame(rows, columns=SUMMARY_COLUMNS)


def _median(values: NDArray[np.float64]) -> float:
    present = values[~np.isnan(values)]
    return float(np.median(present)) if len(present) else np.nan


def _accepted(low: float | None, high: float | None) -> str:
    """A range of accepted values.

    >>> _accepted(0.5, None), _accepted(800, 2100), _accepted(None, None)
    ('at least 0.5', '800 to 2100', '')
    """
    if low is None:
        return "" if high is None else f"at most {high:g}"
    return f"at least {low:g}" if high is None else f"{low:g} to {high:g}"


TABLE = Table(
    title="Quality control of the scans",
    make=quality_table,
    inputs={"folders": each(Path), "cohort": one(str)},
)
