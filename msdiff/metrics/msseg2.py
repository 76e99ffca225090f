"""Detection of lesions by the rules of the MSSEG challenges, as Anima's animaSegPerfAnalyzer evaluates them.

All follows from one table of shared voxels. Let n_ij be the voxels that lesion i of one mask shares with region j of
the other, |i| and |j| their voxels. Lesion i is detected where

    coverage     sum_j n_ij / |i| > alpha                                                              (0.10)
    spill-over   of the regions that share most with i, taken in that order until they hold gamma of   (0.65)
                 all that is shared, none has more than beta of itself outside the other mask's lesions (0.70)

The same rule, the masks exchanged, says which predictions are true. So the number of true lesions that are detected
and of predictions that are true differ, and

    SensL = detected true lesions / true lesions        PPVL = true predictions / predictions
    F1L   = 2 SensL PPVL / (SensL + PPVL)

Only lesions larger than a minimum volume count; what is smaller is background. Where nothing is true, MSSEG-2 gives
the number and volume of the predictions instead.

Two details of the program are not followed. It takes regions that share equally in any order: here the one more
outside comes first. And it looks at no more regions than the lesion's own mask has lesions, plus one: here at all that
are needed.

References: Commowick et al. (2018), Scientific Reports 8:13650; the evaluation page of MSSEG-2 (2021) for empty masks;
the program's public source for the direction of each comparison.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from msdiff.metrics.lesion import Components


class Thresholds(NamedTuple):
    """Least coverage, most spill-over, share of the overlap that is looked at, and the volume a lesion must exceed."""

    alpha: float
    beta: float
    gamma: float
    min_lesion_volume_mm3: float


class DetectionCounts(NamedTuple):
    """Numbers of true lesions, of those detected, of predictions, and of those that are true."""

    true_lesions: int
    detected: int
    predictions: int
    true_predictions: int


class Detections(NamedTuple):
    """Which true lesions (n,) and predictions (m,) count at all, and which of those are detected, or true."""

    true_counted: NDArray[np.bool_]
    true_detected: NDArray[np.bool_]
    predicted_counted: NDArray[np.bool_]
    predicted_true: NDArray[np.bool_]

    @property
    def counts(self) -> DetectionCounts:
        """How many there are of each."""
        return DetectionCounts(*(int(which.sum()) for which in self))


class Marks(NamedTuple):
    """Sensitivity and positive predictive value for lesions, and their F1, in [0, 1]."""

    sens_l: float
    ppv_l: float
    f1_l: float


def detections(
    true: Components,
    predicted: Components,
    shared: NDArray[np.int64],
    voxel_volume_mm3: float,
    thresholds: Thresholds,
) -> Detections:
    """Apply the rules to two sets of lesions and their table of shared voxels (true lesion, prediction)."""
    # Volumes are compared in whole voxels, so that rounding of the voxel's volume decides nothing.
    smallest = np.floor(thresholds.min_lesion_volume_mm3 / voxel_volume_mm3 + 1e-6)
    true_counted, predicted_counted = true.voxels > smallest, predicted.voxels > smallest
    table = shared[np.ix_(true_counted, predicted_counted)]
    true_voxels, predicted_voxels = true.voxels[true_counted], predicted.voxels[predicted_counted]
    true_detected, predicted_true = np.zeros(true.n, dtype=bool), np.zeros(predicted.n, dtype=bool)
    true_detected[true_counted] = _detected(table, true_voxels, predicted_voxels, thresholds)
    predicted_true[predicted_counted] = _detected(table.T, predicted_voxels, true_voxels, thresholds)
    return Detections(true_counted, true_detected, predicted_counted, predicted_true)


def marks(counts: DetectionCounts, empty: float) -> Marks:
    """SensL, PPVL and F1L of counts; `empty` for a ratio without a denominator.

    F1L is `empty` only where there is neither a true nor a predicted lesion, and 0 where none is detected.
    """
    true_lesions, detected, predictions, true_predictions = counts
    sens_l = detected / true_lesions if true_lesions else empty
    ppv_l = true_predictions / predictions if predictions else empty
    if not true_lesions and not predictions:
        return Marks(sens_l, ppv_l, empty)
    if not detected or not true_predictions:
        return Marks(sens_l, ppv_l, 0.0)
    return Marks(sens_l, ppv_l, 2 * sens_l * ppv_l / (sens_l + ppv_l))


def _detected(
    shared: NDArray[np.int64],
    lesion_voxels: NDArray[np.int64],
    region_voxels: NDArray[np.int64],
    thresholds: Thresholds,
) -> NDArray[np.bool_]:
    """Bool (lesion,): detected by the regions of the other mask; `shared` is (lesion, region)."""
    outside = (region_voxels - shared.sum(axis=0)) / region_voxels
    order = np.lexsort((np.broadcast_to(-outside, shared.shape), -shared), axis=1)
    descending = np.take_along_axis(shared, order, axis=1)
    covered = shared.sum(axis=1)
    # A region is needed as long as those before it hold less than gamma of the overlap.
    before = np.cumsum(descending, axis=1) - descending
    needed = (descending > 0) & (before / np.maximum(covered, 1)[:, None] < thresholds.gamma)
    spilt = (needed & (outside[order] > thresholds.beta)).any(axis=1)
    return np.asarray((covered / lesion_voxels > thresholds.alpha) & ~spilt)
