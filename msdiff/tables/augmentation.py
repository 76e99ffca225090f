"""Detectors of new lesions by the ratio of real to synthetic training slices: table 1 of Long-MS-Diff.

A row is a detector trained on one mix, over one or more seeds. Per patient, counts are added over the seeds; then

    precision, recall, expected_cost    of the voxels pooled over patients
    dice                                mean over patients (and seeds) of the patient's Dice
    correct, false positives, negatives sums over patients, mean over seeds
    lesion_precision, _recall, _f1, _f2 of those counts
    msseg2_recall, _precision, _f1      mean over patients with true lesions (and seeds) of SensL, PPVL and F1L
    msseg2_empty_predictions, _mm3      mean over patients without, of the number and volume of their predictions

The paper's precision and recall are neither lesion-level nor those of its Dice: 47 / (47 + 305) is not 0.241, and the
harmonic mean of 0.241 and 0.360 is not 0.245. Read as pooled voxels beside a Dice averaged apart, the numbers agree.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from msdiff.metrics.intervals import over_seeds, pooled
from msdiff.metrics.lesion import LesionCounts, lesion_f, lesion_precision, lesion_recall
from msdiff.metrics.msseg2 import DetectionCounts, marks
from msdiff.metrics.voxel import Confusion, expected_cost, precision, recall
from msdiff.tables import published
from msdiff.tables.detector_runs import KEYS, LESIONS, MSSEG2, VOXELS, DetectorRun, by_training, read_run
from msdiff.tables.estimates import estimate
from msdiff.tables.layout import TableSettings, assemble, with_intervals
from msdiff.tables.registry import Table, each, one

METRICS = [
    *("dice", "precision", "recall", *LESIONS),
    *("lesion_precision", "lesion_recall", "lesion_f1", "lesion_f2", "false_positives_per_patient", "expected_cost"),
    *("msseg2_recall", "msseg2_precision", "msseg2_f1", "msseg2_empty_predictions", "msseg2_empty_mm3"),
]
COLUMNS = [*KEYS, "n", "seeds", "n_real", "n_synthetic", *with_intervals(METRICS)]


# The ratios of lesion counts: what they are called, and how they follow from (correct, false positives, negatives).
LESION_RATIOS: dict[str, Callable[[LesionCounts], float]] = {
    "lesion_precision": lambda counts: lesion_precision(counts, np.nan),
    "lesion_recall": lambda counts: lesion_recall(counts, np.nan),
    "lesion_f1": lambda counts: lesion_f(counts, 1, np.nan),
    "lesion_f2": lambda counts: lesion_f(counts, 2, np.nan),
}


def augmentation_table(runs: Sequence[DetectorRun], cohort: str, settings: TableSettings) -> pd.DataFrame:
    """The table of one cohort's detectors, and the paper's rows; raises BadInput as `by_training`."""
    ours = [
        {**dict(zip(KEYS, (cohort, *keys), strict=True)), **_row(group, settings)}
        for keys, group in by_training(runs).items()
    ]
    return assemble(ours, [paper_row(row) for row in published.AUGMENTATION], COLUMNS)


def paper_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A published row with the lesion-level columns that follow from its counts."""
    counts = LesionCounts(*(row[column] for column in LESIONS))
    derived = {name: ratio(counts) for name, ratio in LESION_RATIOS.items()}
    return {**row, **derived, "false_positives_per_patient": row["false_positives"] / row["n"]}


def _row(group: Sequence[DetectorRun], settings: TableSettings) -> dict[str, float]:
    n_seeds = len(group)

    def added(columns: list[str]) -> NDArray[np.float64]:
        """Counts (patient, column), added over the seeds."""
        return np.asarray(sum(run.patients[columns].to_numpy(dtype=np.float64) for run in group))

    voxels, lesions = added(VOXELS), added(LESIONS)
    dices = over_seeds(np.stack([run.patients["dice"].to_numpy(dtype=np.float64) for run in group]))
    cost = settings.expected_cost.model_dump()
    row = {"n": len(voxels), "seeds": n_seeds, **estimate("dice", dices, settings)}
    row |= {name: float(np.mean([getattr(run, name) for run in group])) for name in ("n_real", "n_synthetic")}
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
    return row | _msseg2(group, settings)


def _msseg2(group: Sequence[DetectorRun], settings: TableSettings) -> dict[str, float]:
    """By the rules of MSSEG-2: marks of the patients with true lesions, number and volume of what others are given."""
    counts = np.stack([run.patients[MSSEG2].to_numpy() for run in group])
    values = np.array([[marks(DetectionCounts(*patient), np.nan) for patient in seed] for seed in counts])
    volumes = np.stack([run.patients["msseg2_predicted_mm3"].to_numpy(dtype=np.float64) for run in group])
    # The number of true lesions is the same for every seed.
    with_lesions = counts[0, :, 0] > 0
    sens_l, ppv_l, f1_l = over_seeds(np.where(with_lesions[:, None], values, np.nan)).T
    row = estimate("msseg2_recall", sens_l, settings) | estimate("msseg2_precision", ppv_l, settings)
    row |= estimate("msseg2_f1", f1_l, settings)
    for name, empty in (("msseg2_empty_predictions", counts[:, :, 2]), ("msseg2_empty_mm3", volumes)):
        row |= estimate(name, over_seeds(np.where(with_lesions, np.nan, empty)), settings)
    return row


TABLE = Table(
    title="Detectors by the ratio of real to synthetic slices",
    make=augmentation_table,
    inputs={"runs": each(read_run), "cohort": one(str)},
    settings={"settings": ("tables", TableSettings)},
    main_columns=(
        *("source", "generator", "architecture", "real_synthetic", "n", "seeds", "n_real", "n_synthetic", "dice"),
        *("lesion_recall", "lesion_precision", "lesion_f1", "false_positives_per_patient", "msseg2_f1"),
    ),
)
