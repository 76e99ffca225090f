"""Intervals and tests with the patient as the unit.

Values come with one row per patient: (patient,) for a metric, (patient, count) for counts that a statistic pools.
Where a training was repeated, `over_seeds` first averages each patient's values over the seeds; the seeds are not
resampled, so an interval tells how much the result depends on which patients were tested.

A statistic that would be slow on each resample in turn may take all of them at once, as weights (resample, patient):
how often each patient stands in each (`resampling_weights`). A seed gives the same resamples either way.

References: Efron & Tibshirani (1993), chapter 13 (percentile bootstrap); Clopper & Pearson (1934); Holm (1979);
Wilcoxon (1945).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, wilcoxon

Statistic = Callable[[NDArray[np.float64]], float]


class Interval(NamedTuple):
    """An estimate and the limits of its interval, in the estimate's unit."""

    estimate: float
    lo: float
    hi: float


def bootstrap(
    values: NDArray[np.float64],
    statistic: Statistic,
    resamples: int,
    level: float,
    rng: np.random.Generator,
    *,
    patients_per_resample: int | None = None,
) -> Interval:
    """Percentile bootstrap over patients of `statistic(values)`.

    `values` (patient, ...) is resampled with replacement along its first axis, as many patients as there are
    (Kelly et al. 2024 sampled 10 of 30, which widens the interval: `patients_per_resample`). Resamples in which the
    statistic is NaN are left out; without patients, or with NaN everywhere, limits and estimate are NaN. One patient
    alone has no limits either: resampled, it gives nothing but itself.
    """
    values = np.asarray(values, dtype=np.float64)
    if len(values) == 0:
        return Interval(np.nan, np.nan, np.nan)
    if _patients(values) < 2:
        return Interval(float(statistic(values)), np.nan, np.nan)
    draws = rng.integers(len(values), size=(resamples, patients_per_resample or len(values)))
    return percentile_interval(statistic(values), np.array([statistic(values[draw]) for draw in draws]), level)


def paired_bootstrap(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    statistic: Statistic,
    resamples: int,
    level: float,
    rng: np.random.Generator,
    *,
    patients_per_resample: int | None = None,
) -> Interval:
    """Percentile bootstrap of `statistic(first) - statistic(second)`, both on the same resampled patients.

    `first` and `second` (patient, ...) hold the same patients in the same order; empty policy as `bootstrap`.
    """
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if first.shape != second.shape:
        raise ValueError(f"expected the same patients on both sides, got shapes {first.shape} and {second.shape}")
    if len(first) == 0:
        return Interval(np.nan, np.nan, np.nan)
    if min(_patients(first), _patients(second)) < 2:
        return Interval(statistic(first) - statistic(second), np.nan, np.nan)
    draws = rng.integers(len(first), size=(resamples, patients_per_resample or len(first)))
    differences = np.array([statistic(first[draw]) - statistic(second[draw]) for draw in draws])
    return percentile_interval(statistic(first) - statistic(second), differences, level)


def resampling_weights(
    patients: int, resamples: int, rng: np.random.Generator, *, patients_per_resample: int | None = None
) -> NDArray[np.float64]:
    """How often each patient stands in each resample (resample, patient); no resamples of fewer than two patients."""
    if patients < 2:
        return np.empty((0, patients))
    draws = rng.integers(patients, size=(resamples, patients_per_resample or patients))
    cells = draws + patients * np.arange(resamples)[:, None]
    weights = np.bincount(cells.ravel(), minlength=resamples * patients).reshape(resamples, patients)
    return weights.astype(np.float64)


def percentile_interval(estimate: float, resampled: NDArray[np.float64], level: float) -> Interval:
    """An estimate with the percentile interval of its values over resamples (resample,); NaN ones are left out."""
    resampled = resampled[~np.isnan(resampled)]
    if len(resampled) == 0:
        return Interval(float(estimate), np.nan, np.nan)
    tail = 100 * (1 - level) / 2
    lo, hi = np.percentile(resampled, [tail, 100 - tail])
    return Interval(float(estimate), float(lo), float(hi))


def mean(values: NDArray[np.float64]) -> float:
    """Mean (patient,) of what is there; NaN where nothing is."""
    present = values[~np.isnan(values)]
    return float(present.mean()) if len(present) else np.nan


def pooled(ratio: Callable[..., float]) -> Statistic:
    """A statistic of counts (patient, count) that sums them over patients and hands the sums to `ratio` in order.

    >>> precision = pooled(lambda correct, false_positives: correct / (correct + false_positives))
    >>> precision(np.array([[1.0, 3.0], [2.0, 0.0]]))
    0.5
    """
    return lambda counts: float(ratio(*np.asarray(counts).sum(axis=0)))


def over_seeds(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average (seed, patient, ...) over the seeds that have a value; NaN where a patient has none."""
    values = np.asarray(values, dtype=np.float64)
    present = ~np.isnan(values)
    n = present.sum(axis=0)
    total = np.where(present, values, 0).sum(axis=0)
    return np.asarray(np.divide(total, n, out=np.full(total.shape, np.nan), where=n > 0))


def wilcoxon_paired(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Two-sided p of the signed-rank test on paired values (patient,).

    Pairs with a NaN are left out, pairs without a difference too (Wilcoxon's own way); 1 where no pair differs. What
    differs by the rounding of an average does not differ.
    """
    differences = np.round(np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64), 12)
    differences = differences[~np.isnan(differences) & (differences != 0)]
    return float(wilcoxon(differences).pvalue) if len(differences) else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """P values adjusted for their number by Holm's step-down method, in the order given, at most 1."""
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def clopper_pearson(successes: int, trials: int, level: float) -> Interval:
    """Exact interval of a proportion; NaN and [0, 1] without trials."""
    if trials == 0:
        return Interval(np.nan, 0.0, 1.0)
    limits = binomtest(successes, trials).proportion_ci(confidence_level=level, method="exact")
    return Interval(successes / trials, float(limits.low), float(limits.high))


def _patients(values: NDArray[np.float64]) -> int:
    """Patients of (patient, ...) who have a value."""
    return int((~np.isnan(values)).reshape(len(values), -1).any(axis=1).sum())
