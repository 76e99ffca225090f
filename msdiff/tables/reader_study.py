"""Radiologists' scores of real and generated follow-ups, and how far readers agree.

A row is a reader, or all of them, and a kind: synthetic (of a generator), real, the difference synthetic - real, or all
cases. A patient's value is the mean over the cases, then over the readers; a row is the mean over patients, a
difference that of the two means over the same resampled patients. Cases that came again count for consistency alone.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from msdiff.lists import read_results
from msdiff.metrics.agreement import agreement
from msdiff.metrics.intervals import mean
from msdiff.reader_study.answers import COLUMNS as ANSWERS
from msdiff.reader_study.design import REAL, SYNTHETIC
from msdiff.reader_study.questions import NAMES, SCORES
from msdiff.tables import published
from msdiff.tables.estimates import estimate
from msdiff.tables.layout import TableSettings, assemble, with_intervals
from msdiff.tables.registry import Table, one

COLUMNS = [
    *("cohort", "generator", "reader", "kind", "n", "cases", "readers"),
    *with_intervals(NAMES),
    *(f"{name}_agreement" for name in NAMES),
    "repeats",
    *(f"{name}_repeat_difference" for name in NAMES),
]
ALL, DIFFERENCE = "all", "difference"
# As the table of image quality calls it.
REAL_FOLLOW_UP = "real_follow_up"


def reader_study_table(answers: pd.DataFrame, cohort: str, settings: TableSettings) -> pd.DataFrame:
    """The table of a study's answers (see msdiff.reader_study.answers), and the paper's row.

    Rows of all readers come first, then those of each where there are several.
    """
    answers = answers.assign(generator=answers["generator"].fillna(""))
    readers = sorted(answers["reader"].unique())
    groups = [(ALL, answers)]
    if len(readers) > 1:
        groups += [(reader, answers[answers["reader"] == reader]) for reader in readers]
    rows = [
        {"cohort": cohort, "reader": reader, "readers": group["reader"].nunique(), **row}
        for reader, group in groups
        for row in _rows(group, settings)
    ]
    return assemble(rows, published.READER_STUDY, COLUMNS)


def _rows(answers: pd.DataFrame, settings: TableSettings) -> Iterator[dict[str, Any]]:
    """The rows of some readers, without their name."""
    first = answers[answers["repeat_of"] == 0]
    real = first[first["kind"] == REAL]
    generators = sorted(set(first["generator"]) - {""})
    for generator in generators:
        synthetic = first[first["generator"] == generator]
        yield {"generator": generator, "kind": SYNTHETIC, **_means(synthetic, settings), **_agreements(synthetic)}
    if len(real):
        yield {"generator": REAL_FOLLOW_UP, "kind": REAL, **_means(real, settings), **_agreements(real)}
        for generator in generators:
            synthetic = first[first["generator"] == generator]
            yield {"generator": generator, "kind": DIFFERENCE, **_differences(synthetic, real, settings)}
    sizes = {"n": first["subject"].nunique(), "cases": first["case"].nunique()}
    yield {"generator": "", "kind": ALL, **sizes, **_agreements(first), **_repeats(answers)}


def _patients(cases: pd.DataFrame) -> pd.DataFrame:
    """Mean score (patient, question): over a reader's cases of the patient, then over readers."""
    return cases.groupby(["subject", "reader"])[NAMES].mean().groupby("subject").mean()


def _means(cases: pd.DataFrame, settings: TableSettings) -> dict[str, float]:
    patients = _patients(cases)
    row: dict[str, float] = {"n": len(patients), "cases": cases["case"].nunique()}
    for name in NAMES:
        row |= estimate(name, patients[name].to_numpy(dtype=np.float64), settings)
    return row


def _differences(synthetic: pd.DataFrame, real: pd.DataFrame, settings: TableSettings) -> dict[str, float]:
    """Synthetic less real; a patient without one of them counts on the other's side."""
    both = pd.concat({SYNTHETIC: _patients(synthetic), REAL: _patients(real)}, axis=1).sort_index()
    row: dict[str, float] = {"n": len(both), "cases": synthetic["case"].nunique() + real["case"].nunique()}
    for name in NAMES:
        pairs = both[[(SYNTHETIC, name), (REAL, name)]].to_numpy(dtype=np.float64)
        row |= estimate(name, pairs, settings, _gap)
    return row


def _gap(values: NDArray[np.float64]) -> float:
    """Difference of the column means (patient, 2) of what is there."""
    return mean(values[:, 0]) - mean(values[:, 1])


def _agreements(cases: pd.DataFrame) -> dict[str, float]:
    row = {}
    for name in NAMES:
        scores = cases.pivot(index="reader", columns="case", values=name).to_numpy(dtype=np.float64)
        row[f"{name}_agreement"] = agreement(scores, SCORES)
    return row


def _repeats(answers: pd.DataFrame) -> dict[str, float]:
    """How many cases were scored again, by any reader, and the mean absolute difference to the first score."""
    again = answers[answers["repeat_of"] > 0]
    both = again.merge(answers, left_on=["reader", "repeat_of"], right_on=["reader", "case"], suffixes=("", "_first"))
    row: dict[str, float] = {"repeats": both["case"].nunique()}
    for name in NAMES:
        row[f"{name}_repeat_difference"] = mean((both[name] - both[f"{name}_first"]).abs().to_numpy(np.float64))
    return row


TABLE = Table(
    title="What readers thought of the follow-ups",
    make=reader_study_table,
    inputs={"answers": one(partial(read_results, columns=ANSWERS)), "cohort": one(str)},
    settings={"settings": ("tables", TableSettings)},
    main_columns=(
        *("source", "generator", "reader", "kind", "n", "cases", "readers", "quality", "plausibility", "adherence"),
        *("quality_agreement", "plausibility_agreement", "adherence_agreement"),
    ),
)
