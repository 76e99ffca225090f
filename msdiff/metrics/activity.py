"""Forecasts of a binary outcome, by patient: who will be active, or have a lesion in a region.

`truth` (patient,) says who had the outcome, `score` (patient,) ranks them, `probability` (patient,) is a score in
[0, 1], and `weights` (resample, patient) tell how often each patient stands in each resample of a bootstrap, so that
thousands of resamples are judged at once. Ranks and balanced accuracy need both outcomes, a ratio a denominator: else
they are NaN.

References: Fawcett (2006), "An introduction to ROC analysis"; average precision as scikit-learn defines it, the sum of
precisions weighted by the rise of recall, without interpolation; Brier (1950).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Truth = NDArray[np.bool_]
Numbers = NDArray[np.float64]


class ScoreCounts(NamedTuple):
    """Patients with and without the outcome at each score, the highest first: (resample, score)."""

    positives: Numbers
    negatives: Numbers


class LabelCounts(NamedTuple):
    """Patients by true and predicted label: true positive, false positive, false negative, true negative."""

    tp: Numbers
    fp: Numbers
    fn: Numbers
    tn: Numbers


def average_precision(truth: Truth, score: Numbers) -> float:
    """Average precision, in (0, 1]; NaN where all patients have the same outcome."""
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(truth, score)) if _both(truth) else np.nan


def roc_auc(truth: Truth, score: Numbers) -> float:
    """Area under the ROC curve, in [0, 1], equal scores counting half; NaN where all patients have the same outcome."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(truth, score)) if _both(truth) else np.nan


def counts_by_score(truth: Truth, score: Numbers, weights: Numbers) -> ScoreCounts:
    """Count the patients of each resample by score and outcome."""
    levels, level = np.unique(-score, return_inverse=True)
    at_level = np.eye(len(levels))[level]
    return ScoreCounts(weights @ (at_level * truth[:, None]), weights @ (at_level * ~truth[:, None]))


def average_precision_of(counts: ScoreCounts) -> Numbers:
    """Average precision of each resample (resample,)."""
    found = counts.positives.cumsum(axis=1)
    precisions = _ratio(found, found + counts.negatives.cumsum(axis=1))
    # Before the first patient of a resample there is neither a precision nor a rise of recall.
    total = np.where(counts.positives > 0, counts.positives * precisions, 0).sum(axis=1)
    return np.where(counts.negatives.sum(axis=1) > 0, _ratio(total, counts.positives.sum(axis=1)), np.nan)


def roc_auc_of(counts: ScoreCounts) -> Numbers:
    """Area under the ROC curve of each resample (resample,)."""
    lower = counts.negatives.sum(axis=1, keepdims=True) - counts.negatives.cumsum(axis=1)
    ahead = (counts.positives * (lower + counts.negatives / 2)).sum(axis=1)
    return _ratio(ahead, counts.positives.sum(axis=1) * counts.negatives.sum(axis=1))


def label_counts(truth: Truth, labels: NDArray[np.bool_], weights: Numbers) -> LabelCounts:
    """Count the patients of each resample by truth and by each set of labels (set, patient): (resample, set)."""

    def count(patients: NDArray[np.bool_]) -> Numbers:
        return weights @ patients.T.astype(np.float64)

    return LabelCounts(count(labels & truth), count(labels & ~truth), count(~labels & truth), count(~labels & ~truth))


def balanced_accuracy(counts: LabelCounts) -> Numbers:
    """Mean of sensitivity and specificity, in [0, 1]."""
    return (recall(counts) + _ratio(counts.tn, counts.tn + counts.fp)) / 2


def precision(counts: LabelCounts) -> Numbers:
    """Share of the predicted patients who had the outcome."""
    return _ratio(counts.tp, counts.tp + counts.fp)


def recall(counts: LabelCounts) -> Numbers:
    """Share of the patients with the outcome who were predicted."""
    return _ratio(counts.tp, counts.tp + counts.fn)


def f1(counts: LabelCounts) -> Numbers:
    """Harmonic mean of precision and recall: 2 tp / (2 tp + fp + fn)."""
    return _ratio(2 * counts.tp, 2 * counts.tp + counts.fp + counts.fn)


def squared_error(truth: Truth, probability: Numbers) -> Numbers:
    """Of each patient; their mean is the Brier score, in [0, 1], 0 for certain and right forecasts."""
    return np.asarray((probability - truth) ** 2)


def bin_of(probability: Numbers, edges: Sequence[float]) -> NDArray[np.int64]:
    """Number of the bin that holds each probability; an edge belongs to the bin above, the last one to the last bin.

    >>> bin_of(np.array([0.0, 0.2, 0.5, 1.0]), [0.0, 0.2, 0.6, 1.0]).tolist()
    [0, 1, 1, 2]
    """
    # Shares of draws such as 3 * 0.2 miss their edge by a rounding.
    inner = np.asarray(edges[1:-1])
    return np.asarray(np.searchsorted(inner, probability + 1e-6, side="right"), dtype=np.int64)


def _both(truth: Truth) -> bool:
    return 0 < int(np.count_nonzero(truth)) < len(truth)


def _ratio(numerator: Numbers, denominator: Numbers) -> Numbers:
    missing = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), np.nan)
    return np.asarray(np.divide(numerator, denominator, out=missing, where=denominator > 0))
