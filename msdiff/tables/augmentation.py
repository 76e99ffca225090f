"""Detectors of new lesions by the ratio of real to synthetic training slices: table 1 of Long-MS-Diff.

A row is a detector trained on one mix, over one or more seeds. Per patient, counts are added over the seeds; then

    precision, recall, expected_cost    of the voxels pooled over patients
    dice                                mean over patients (and seeds) of the patient's Dice
    correct, false positives, negatives sums over patients, mean over seeds
    lesion_precision, _recall, _f1, _f2 of those counts

The paper's precision and recall are neither lesion-level nor those of its Dice: 47 / (47 + 305) is not 0.241, and the
harmonic mean of 0.241 and 0.360 is not 0.245. Read as pooled voxels beside a Dice averaged apart, the numbers agree.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from msdiff.errors import BadInput
from msdiff.metrics.intervals import over_seeds, pooled
from msdiff.metrics.lesion import LesionCounts, lesion_f, lesion_precision, lesion_recall
from msdiff.metrics.voxel import Confusion, expected_cost, precision, recall
from msdiff.tables import published
from msdiff.tables.estimates import estimate
from msdiff.tables.layout import TableSettings, assemble, keys_of, read_list, with_intervals

KEYS = ["cohort", "generator", "architecture", "real_synthetic"]
VOXELS = ["tp", "fp", "fn", "tn"]
LESIONS = ["correct", "false_positives", "false_negatives"]
METRICS = [
    *("dice", "precision", "recall", *LESIONS),
    *("lesion_precision", "lesion_recall", "lesion_f1", "lesion_f2", "false_positives_per_patient", "expected_cost"),
]
COLUMNS = [*KEYS, "n", "seeds", "n_real", "n_synthetic", *with_intervals(METRICS)]
SCORE_COLUMNS = ["subject", *VOXELS, "dice", *LESIONS, "true_lesions"]


class Run(NamedTuple):
    """One trained detector's scores: its keys after the cohort, its seed, one row per test patient (SCORE_COLUMNS)."""

    keys: tuple[str, str, str]
    seed: str
    patients: pd.DataFrame


class Mix(NamedTuple):
    """Numbers of slices in one training mix."""

    n_real: int
    n_synthetic: int


# The ratios of lesion counts: what they are called, and how they follow from (correct, false positives, negatives).
LESION_RATIOS: dict[str, Callable[[LesionCounts], float]] = {
    "lesion_precision": lambda counts: lesion_precision(counts, np.nan),
    "lesion_recall": lambda counts: lesion_recall(counts, np.nan),
    "lesion_f1": lambda counts: lesion_f(counts, 1, np.nan),
    "lesion_f2": lambda counts: lesion_f(counts, 2, np.nan),
}


def augmentation_table(
    runs: Sequence[Run], mixes: Mapping[tuple[str, str, str], Mix], cohort: str, settings: TableSettings
) -> pd.DataFrame:
    """The table of one cohort's detectors, and the paper's rows.

    `mixes` gives the slices of (generator, ratio, seed). Raises BadInput where Correct + false negatives is not the
    number of true lesions, where the runs differ in their patients or true lesions, or where a run's mix is not given.
    """
    _check_true_lesions(runs)
    groups: dict[tuple[str, str, str], list[Run]] = {}
    for run in sorted(runs, key=lambda run: (run.keys, run.seed)):
        groups.setdefault(run.keys, []).append(run)
    ours = [
        {**dict(zip(KEYS, (cohort, *keys), strict=True)), **_slices(group, mixes), **_row(group, settings)}
        for keys, group in groups.items()
    ]
    return assemble(ours, [paper_row(row) for row in published.AUGMENTATION], COLUMNS)


def paper_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A published row with the lesion-level columns that follow from its counts."""
    counts = LesionCounts(*(row[column] for column in LESIONS))
    derived = {name: ratio(counts) for name, ratio in LESION_RATIOS.items()}
    return {**row, **derived, "false_positives_per_patient": row["false_positives"] / row["n"]}


def read_run(folder: str | Path) -> Run:
    """A detector's scores; its keys stand in the path (.../generator/architecture/mix/seed-N/scores)."""
    keys = keys_of(folder, "scores")
    patients = read_list(Path(folder) / "patients.tsv", SCORE_COLUMNS)
    if patients.empty or patients["subject"].duplicated().any():
        raise BadInput(f"{folder}/patients.tsv: expected one row per test patient; score the detector again")
    row = (keys["generator"], keys["architecture"], keys["mix"].replace("-", ":"))
    return Run(row, keys["seed"], patients.sort_values("subject", ignore_index=True))


def read_mix(path: str | Path) -> tuple[tuple[str, str, str], Mix]:
    """The slices of a training mix, by the generator, ratio and seed in its path."""
    keys = keys_of(path, "mix")
    synthetic = read_list(path, ["kind"])["kind"] == "synthetic"
    key = (keys["generator"], keys["mix"].replace("-", ":"), keys["seed"])
    return key, Mix(int((~synthetic).sum()), int(synthetic.sum()))


def _check_true_lesions(runs: Sequence[Run]) -> None:
    expected: pd.Series | None = None
    for run in runs:
        row = ", ".join(run.keys) + f", seed {run.seed}"
        true_lesions = run.patients.set_index("subject")["true_lesions"].sort_index()
        sums = run.patients.set_index("subject")[["correct", "false_negatives"]].sum(axis=1).sort_index()
        if not (sums == true_lesions).all():
            subject = sums.index[sums != true_lesions][0]
            raise BadInput(
                f"scores of {row}: expected correct + false negatives = {true_lesions[subject]} true lesions in "
                f"{subject}, got {sums[subject]}; score the detector again"
            )
        expected = true_lesions if expected is None else expected
        if not true_lesions.equals(expected):
            raise BadInput(
                f"scores of {row}: expected the patients and true lesions of the other detectors "
                f"({expected.sum()} lesions in {len(expected)} patients), got "
                f"{true_lesions.sum()} in {len(true_lesions)}; score all detectors on the same patients and settings"
            )


def _slices(group: Sequence[Run], mixes: Mapping[tuple[str, str, str], Mix]) -> dict[str, float]:
    """The columns n_real and n_synthetic: mean numbers of slices over the seeds."""
    sizes = []
    for run in group:
        generator, _, ratio = run.keys
        if (generator, ratio, run.seed) not in mixes:
            raise BadInput(f"no mix given for {generator}, ratio {ratio}, seed {run.seed}; add it to --mixes")
        sizes.append(mixes[generator, ratio, run.seed])
    return {name: float(np.mean([getattr(size, name) for size in sizes])) for name in Mix._fields}


def _row(group: Sequence[Run], settings: TableSettings) -> dict[str, float]:
    n_seeds = len(group)

    def added(columns: list[str]) -> NDArray[np.float64]:
        """Counts (patient, column), added over the seeds."""
        return np.asarray(sum(run.patients[columns].to_numpy(dtype=np.float64) for run in group))

    voxels, lesions = added(VOXELS), added(LESIONS)
    dices = over_seeds(np.stack([run.patients["dice"].to_numpy(dtype=np.float64) for run in group]))
    cost = settings.expected_cost.model_dump()
    row = {"n": len(voxels), "seeds": n_seeds, **estimate("dice", dices, settings)}
    for name, of_voxels in {
        "precision": lambda *counts: precision(Confusion(*counts), np.nan),
        "recall": lambda *counts: recall(Confusion(*counts), np.nan),
        "expected_cost": lambda *counts: expected_cost(Confusion(*counts), **cost, empty=np.nan),
    }.items():
        row |= estimate(name, voxels, settings, pooled(of_voxels))
    for index, name in enumerate(LESIONS):
        row |= estimate(name, lesions[:, index] / n_seeds, settings, lambda counts: float(counts.sum()))
    for name, ratio in LESION_RATIOS.items():
        row |= estimate(name, lesions, settings, pooled(lambda *counts, ratio=ratio: ratio(LesionCounts(*counts))))
    row |= estimate("false_positives_per_patient", lesions[:, 1] / n_seeds, settings)
    return row
