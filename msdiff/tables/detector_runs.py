"""The scores of trained detectors, as the tables of detection read them: a run per generator, network, mix and seed."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from msdiff.errors import BadInput
from msdiff.lists import read_results
from msdiff.tables.layout import keys_of

KEYS = ["cohort", "generator", "architecture", "real_synthetic"]
VOXELS = ["tp", "fp", "fn", "tn"]
LESIONS = ["correct", "false_positives", "false_negatives"]
# By the rules of the MSSEG challenges, in the order of msdiff.metrics.msseg2.DetectionCounts.
MSSEG2 = ["msseg2_true_lesions", "msseg2_detected", "msseg2_predictions", "msseg2_true_predictions"]
# How a detector was trained: the same in all rows of its scores.
TRAINING = ["generator", "architecture", "mix", "seed", "n_real", "n_synthetic"]
PATIENT_COLUMNS = ["subject", *VOXELS, "dice", *LESIONS, "true_lesions", *MSSEG2, "msseg2_predicted_mm3", *TRAINING]
LESION_COLUMNS = ["subject", "follow_up_session", "kind", "label", "volume_mm3", "matched", "msseg2_matched"]


class DetectorRun(NamedTuple):
    """One trained detector's scores.

    keys        generator, architecture, ratio (`1:2`)
    seed        of the training
    n_real      number of real training slices; n_synthetic of synthetic ones
    patients    one row per test patient, PATIENT_COLUMNS, by subject
    lesions     one row per true or predicted lesion, LESION_COLUMNS
    """

    keys: tuple[str, str, str]
    seed: str
    n_real: int
    n_synthetic: int
    patients: pd.DataFrame
    lesions: pd.DataFrame


def read_run(folder: str | Path) -> DetectorRun:
    """The scores of a detector, a folder that detect-lesions wrote."""
    patients = read_results(Path(folder) / "patients.tsv", PATIENT_COLUMNS)
    if patients.empty or patients["subject"].duplicated().any():
        raise BadInput(f"{folder}/patients.tsv: expected one row per test patient; score the detector again")
    lesions = read_results(Path(folder) / "lesions.tsv", LESION_COLUMNS)
    lesions = lesions.astype({"volume_mm3": float, "matched": bool, "msseg2_matched": "boolean"})
    unknown = sorted(set(lesions["subject"]) - set(patients["subject"]))
    if unknown:
        raise BadInput(
            f"{folder}/lesions.tsv: expected lesions of the patients beside it, got {unknown[0]}; score again"
        )
    training = keys_of(patients, TRAINING, f"{folder}/patients.tsv")
    return DetectorRun(
        keys=(training["generator"], training["architecture"], training["mix"].replace("-", ":")),
        seed=training["seed"],
        n_real=int(training["n_real"]),
        n_synthetic=int(training["n_synthetic"]),
        patients=patients.sort_values("subject", ignore_index=True),
        lesions=lesions,
    )


def by_training(runs: Sequence[DetectorRun]) -> dict[tuple[str, str, str], list[DetectorRun]]:
    """The runs of each generator, architecture and ratio, by seed; ratios from real only to synthetic only.

    Raises BadInput where Correct + false negatives is not the number of true lesions, or where the runs differ in their
    patients or true lesions.
    """
    _check_true_lesions(runs)
    groups: dict[tuple[str, str, str], list[DetectorRun]] = {}
    for run in sorted(runs, key=lambda run: (*run.keys[:2], synthetic_share(run.keys[2]), run.seed)):
        groups.setdefault(run.keys, []).append(run)
    return groups


def synthetic_share(ratio: str) -> float:
    """Synthetic slices among all, in [0, 1], of a ratio real:synthetic.

    >>> synthetic_share("1:0"), synthetic_share("1:3"), synthetic_share("0:1")
    (0.0, 0.75, 1.0)
    """
    real, synthetic = (int(part) for part in ratio.split(":"))
    return synthetic / (real + synthetic)


def _check_true_lesions(runs: Sequence[DetectorRun]) -> None:
    expected: pd.DataFrame | None = None
    for run in runs:
        row = ", ".join(run.keys) + f", seed {run.seed}"
        patients = run.patients.set_index("subject")
        true_lesions = patients[["true_lesions", "msseg2_true_lesions"]]
        n_lesions = true_lesions["true_lesions"].sum()
        sums = patients["correct"] + patients["false_negatives"]
        if not (sums == true_lesions["true_lesions"]).all():
            subject = sums.index[sums != true_lesions["true_lesions"]][0]
            raise BadInput(
                f"scores of {row}: expected correct + false negatives = {true_lesions['true_lesions'][subject]} true "
                f"lesions in {subject}, got {sums[subject]}; score the detector again"
            )
        expected = true_lesions if expected is None else expected
        if not true_lesions.equals(expected):
            raise BadInput(
                f"scores of {row}: expected the patients and true lesions of the other detectors "
                f"({expected['true_lesions'].sum()} lesions in {len(expected)} patients), got {n_lesions} in "
                f"{len(true_lesions)}; score all detectors on the same patients and settings"
            )
