"""Agreement of two masks voxel by voxel.

Every ratio states its empty policy: where its denominator is zero it returns the value of `empty` that the caller
names (NaN to leave the case out of a mean, 1 as the protocol does for a slice in which both masks are empty).

References: Dice (1945); Ferrer (2022), "Analysis and comparison of classification metrics", for the expected cost;
Kelly et al. (2024), medRxiv 2024.04.05.24305386, for its use on new lesions.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Confusion(NamedTuple):
    """Numbers of voxels: true positive, false positive, false negative, true negative."""

    tp: int
    fp: int
    fn: int
    tn: int


def confusion(
    true: NDArray[np.bool_], predicted: NDArray[np.bool_], within: NDArray[np.bool_] | None = None
) -> Confusion:
    """Count the voxels of two masks of one shape (any number of axes), inside `within` where it is given."""
    if true.shape != predicted.shape:
        raise ValueError(f"expected masks of one shape, got {true.shape} and {predicted.shape}")
    if within is not None:
        true, predicted = true[within], predicted[within]
    tp = int(np.count_nonzero(true & predicted))
    n_true, n_predicted = int(np.count_nonzero(true)), int(np.count_nonzero(predicted))
    return Confusion(tp, n_predicted - tp, n_true - tp, true.size - n_true - n_predicted + tp)


def dice(counts: Confusion, empty: float) -> float:
    """Dice coefficient 2 tp / (2 tp + fp + fn), in [0, 1]; `empty` where both masks are empty."""
    return _ratio(2 * counts.tp, 2 * counts.tp + counts.fp + counts.fn, empty)


def precision(counts: Confusion, empty: float) -> float:
    """Share of the predicted voxels that are true, in [0, 1]; `empty` where nothing is predicted."""
    return _ratio(counts.tp, counts.tp + counts.fp, empty)


def recall(counts: Confusion, empty: float) -> float:
    """Share of the true voxels that are predicted, in [0, 1]; `empty` where nothing is true."""
    return _ratio(counts.tp, counts.tp + counts.fn, empty)


def expected_cost(
    counts: Confusion,
    *,
    cost_false_positive: float,
    cost_false_negative: float,
    prior_negative: float,
    prior_positive: float,
    empty: float,
) -> float:
    """Normalised expected cost; 0 is perfect, 1 is the better of the two constant answers, above 1 is worse than that.

    With a = C_FP pi_0 / (C_FN pi_1): EC = a FPR + FNR where a >= 1, FPR + FNR / a otherwise (Ferrer 2022).
    The protocol's own code has C_FP = 10, C_FN = 1, pi = (0.99, 0.01), so a = 990: a false positive voxel is the dear
    one. `empty` where there is no true or no negative voxel, so that a rate is undefined.
    """
    false_positive_rate = _ratio(counts.fp, counts.fp + counts.tn, np.nan)
    false_negative_rate = _ratio(counts.fn, counts.fn + counts.tp, np.nan)
    if np.isnan(false_positive_rate) or np.isnan(false_negative_rate):
        return empty
    balance = cost_false_positive * prior_negative / (cost_false_negative * prior_positive)
    if balance >= 1:
        return balance * false_positive_rate + false_negative_rate
    return false_positive_rate + false_negative_rate / balance


def _ratio(numerator: float, denominator: float, empty: float) -> float:
    return numerator / denominator if denominator else empty
