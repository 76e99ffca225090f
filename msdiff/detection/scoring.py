"""Detection of new lesions in whole scans, and its score against the change masks.

Of each pair of scans every slice with brain is predicted; the slices make a volume, of which the voxels of at least
`threshold` within the brain are change. From this volume and from the true change mask (within the brain too) the
components below the minimum volume are dropped, and what remains is compared voxel by voxel and lesion by lesion: by
the matcher of the settings (msdiff.metrics.lesion), and by the rules of the MSSEG challenges (msdiff.metrics.msseg2) on
the same lesions and the same table of shared voxels. So Correct + false negatives is the number of true lesions of at
least the minimum volume, whatever the detector.

The patient is the unit: where one has several pairs, counts are added and the Dice is that of the sums. A patient
without a true lesion stays in: what is predicted there is false positive. Its Dice is undefined where nothing is
predicted and 0 otherwise; `dice_without_lesions` says what is written: nothing (the patient is left out of a mean, as
in the protocol, whose patients all have new lesions), or 1 and 0.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat
from tqdm import tqdm

from msdiff.errors import BadInput
from msdiff.metrics.lesion import components, lesion_rows, match_lesions
from msdiff.metrics.msseg2 import DetectionCounts, Thresholds, detections
from msdiff.metrics.voxel import Confusion, confusion, dice
from msdiff.settings import Settings
from msdiff.stack.reading import Stack
from msdiff.writing import whole_folder

log = logging.getLogger(__name__)

VOXELS = ["tp", "fp", "fn", "tn"]
LESIONS = ["correct", "false_positives", "false_negatives", "true_lesions"]
MSSEG2 = [f"msseg2_{count}" for count in (*DetectionCounts._fields, "predicted_mm3")]
PATIENT_COLUMNS = ["subject", "n_slices", *VOXELS, "dice", *LESIONS, *MSSEG2]
LESION_COLUMNS = ["subject", "follow_up_session", "kind", "label", "volume_mm3", "matched", "msseg2_matched"]

# Probability of change (N, Y, X) from baselines and follow-ups (N, Y, X) in [-1, 1].
Detector = Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.float32]]


class Msseg2Settings(Settings):
    """Thresholds of the MSSEG challenges (msdiff.metrics.msseg2): a lesion counts above the minimum volume."""

    alpha: Annotated[float, Field(ge=0, lt=1)]
    beta: Annotated[float, Field(ge=0, le=1)]
    gamma: Annotated[float, Field(gt=0, le=1)]
    min_lesion_volume_mm3: NonNegativeFloat


class DetectionSettings(Settings):
    """When a voxel is change, what a lesion is, and when one is found."""

    threshold: Annotated[float, Field(ge=0, le=1)]
    min_lesion_volume_mm3: NonNegativeFloat
    connectivity: Literal[6, 18, 26]
    matcher: Literal["overlap", "kelly2024_bbox"]
    min_overlap: Annotated[float, Field(gt=0, le=1)]
    dice_without_lesions: Literal["leave_out", "one_or_zero"]
    msseg2: Msseg2Settings


class Scores(NamedTuple):
    """Tables of PATIENT_COLUMNS and LESION_COLUMNS, and per pair the predicted masks (pair, Z, Y, X) and their rows."""

    patients: pd.DataFrame
    lesions: pd.DataFrame
    pairs: pd.DataFrame
    predicted: NDArray[np.bool_]


class Predictions(NamedTuple):
    """Predicted masks (pair, Z, Y, X) on the grid of a stack; subjects and rows of the stack's arrays (pair,)."""

    predicted: NDArray[np.bool_]
    subject: NDArray[np.str_]
    baseline_row: NDArray[np.int64]
    follow_up_row: NDArray[np.int64]
    affine: NDArray[np.float64]


def detect_lesions(stack: Stack, split: str, detector: Detector, contrast: str, settings: DetectionSettings) -> Scores:
    """Predict and score every pair of a split; BadInput where the split has no pair."""
    slices = stack.slices[stack.slices["split"] == split]
    if slices.empty:
        raise BadInput(
            f"{stack.folder}: expected pairs of split {split}, got none; assign patients to it in the scan sheet"
        )
    images, changes, brains = (stack.array(name) for name in (contrast, "change_mask", "brain_mask"))
    columns = ["pair", "subject", "follow_up_session", "baseline_row", "follow_up_row"]
    pairs = slices[columns].drop_duplicates("pair").reset_index(drop=True)
    log.info("detecting lesions in %d pairs of %d patients of split %s", len(pairs), pairs["subject"].nunique(), split)
    counted, lesions, masks = [], [], []
    for pair in tqdm(list(pairs.itertuples()), disable=None):
        levels = slices.loc[slices["pair"] == pair.pair, "slice"].to_numpy()
        brain = np.asarray(brains[pair.follow_up_row], dtype=bool)
        true = np.asarray(changes[pair.follow_up_row], dtype=bool) & brain
        probability = np.zeros(brain.shape, dtype=np.float32)
        baseline, follow_up = (
            images[row, levels].astype(np.float32) for row in (pair.baseline_row, pair.follow_up_row)
        )
        probability[levels] = detector(baseline, follow_up)
        predicted = (probability >= settings.threshold) & brain
        counts, rows, mask = score_volume(true, predicted, brain, stack.grid.voxel_volume_mm3, settings)
        counted.append({"subject": pair.subject, "n_slices": len(levels), **counts})
        lesions += [
            dict(zip(LESION_COLUMNS, (pair.subject, pair.follow_up_session, *row), strict=True)) for row in rows
        ]
        masks.append(mask)
    patients = _patients(pd.DataFrame(counted), settings.dice_without_lesions)
    listed = pd.DataFrame(lesions, columns=LESION_COLUMNS).astype({"msseg2_matched": "boolean"})
    return Scores(patients, listed, pairs, np.stack(masks))


def score_volume(
    true: NDArray[np.bool_],
    predicted: NDArray[np.bool_],
    brain: NDArray[np.bool_],
    voxel_volume_mm3: float,
    settings: DetectionSettings,
) -> tuple[dict[str, float], list[tuple[str, int, float, bool, bool | None]], NDArray[np.bool_]]:
    """Counts, rows of lesions and the mask left of a prediction, masks (Z, Y, X) of which lie within the brain.

    A row's last value is None for a lesion that is too small for the rules of the MSSEG challenges.
    """
    true_lesions, predicted_lesions = (
        components(mask, settings.connectivity, settings.min_lesion_volume_mm3, voxel_volume_mm3)
        for mask in (true, predicted)
    )
    matching = match_lesions(true_lesions, predicted_lesions, settings.matcher, settings.min_overlap)
    thresholds = Thresholds(**settings.msseg2.model_dump())
    detected = detections(true_lesions, predicted_lesions, matching.shared, voxel_volume_mm3, thresholds)
    mask = predicted_lesions.labels > 0
    voxels = confusion(true_lesions.labels > 0, mask, brain)
    predicted_mm3 = float(predicted_lesions.voxels[detected.predicted_counted].sum() * voxel_volume_mm3)
    msseg2 = dict(zip(MSSEG2, (*detected.counts, predicted_mm3), strict=True))
    counts = {**voxels._asdict(), **matching.counts._asdict(), "true_lesions": true_lesions.n, **msseg2}
    counted = np.concatenate([detected.true_counted, detected.predicted_counted])
    found = np.concatenate([detected.true_detected, detected.predicted_true])
    rows = [
        (*row, bool(found[place]) if counted[place] else None)
        for place, row in enumerate(lesion_rows(true_lesions, predicted_lesions, matching, voxel_volume_mm3))
    ]
    return counts, rows, mask


def save_scores(scores: Scores, stack: Stack, folder: str | Path) -> None:
    """Write patients.tsv, lesions.tsv and predictions.npz (bits packed along x) whole or not at all."""
    with whole_folder(folder) as temporary:
        scores.patients.to_csv(temporary / "patients.tsv", sep="\t", index=False)
        scores.lesions.to_csv(temporary / "lesions.tsv", sep="\t", index=False)
        np.savez_compressed(
            temporary / "predictions.npz",
            predicted=np.packbits(scores.predicted, axis=-1),
            shape=np.array(scores.predicted.shape),
            subject=scores.pairs["subject"].to_numpy(dtype=np.str_),
            baseline_row=scores.pairs["baseline_row"].to_numpy(dtype=np.int64),
            follow_up_row=scores.pairs["follow_up_row"].to_numpy(dtype=np.int64),
            affine=stack.grid.affine,
        )


def load_predictions(path: str | Path) -> Predictions:
    """Read predictions.npz; BadInput where it cannot be read."""
    try:
        with np.load(path) as file:
            packed, shape = file["predicted"], file["shape"]
            rest = [file[name] for name in Predictions._fields[1:]]
    except (OSError, ValueError, KeyError) as error:
        raise BadInput(f"{path}: expected predictions of a detector, cannot read them ({error})") from error
    return Predictions(np.unpackbits(packed, axis=-1, count=shape[-1]).astype(bool), *rest)


def _patients(counted: pd.DataFrame, dice_without_lesions: str) -> pd.DataFrame:
    """One row of sums per patient, with the Dice of the sums."""
    patients = counted.groupby("subject", sort=True)[["n_slices", *VOXELS, *LESIONS, *MSSEG2]].sum().reset_index()
    voxels = [Confusion(*row) for row in patients[VOXELS].itertuples(index=False)]
    patients["dice"] = [dice(counts, empty=1.0) for counts in voxels]
    if dice_without_lesions == "leave_out":
        patients.loc[patients["true_lesions"] == 0, "dice"] = np.nan
    return patients[PATIENT_COLUMNS]
