"""Estimates with their intervals, as the columns of a table: m, m_lo, m_hi."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from msdiff.metrics.intervals import (
    Interval,
    Statistic,
    bootstrap,
    mean,
    paired_bootstrap,
    percentile_interval,
    resampling_weights,
)
from msdiff.tables.layout import TableSettings


def estimate(
    name: str, values: NDArray[np.float64], settings: TableSettings, statistic: Statistic = mean
) -> dict[str, float]:
    """The columns name, name_lo and name_hi: `statistic` of the values (patient, ...) and its percentile interval.

    Every call samples from the same seed, so rows over the same patients are resampled alike and can be compared.
    """
    return _columns(name, bootstrap(values, statistic, **_resampling(settings)))


def difference(
    name: str,
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    settings: TableSettings,
    statistic: Statistic = mean,
) -> dict[str, float]:
    """The same columns of `statistic(first) - statistic(second)`, of the same patients (patient, ...) in order.

    Both are resampled alike (paired bootstrap), so what patients have in common does not widen the interval.
    """
    return _columns(name, paired_bootstrap(first, second, statistic, **_resampling(settings)))


def weights(patients: int, settings: TableSettings) -> NDArray[np.float64]:
    """How often each patient stands in each resample (resample, patient): the same as those of `estimate`."""
    return resampling_weights(
        patients,
        settings.bootstrap_resamples,
        np.random.default_rng([settings.bootstrap_seed]),
        patients_per_resample=settings.patients_per_resample,
    )


def resampled(name: str, value: float, values: NDArray[np.float64], settings: TableSettings) -> dict[str, float]:
    """The same columns of an estimate and its values over the resamples (resample,) of `weights`."""
    return _columns(name, percentile_interval(value, values, settings.confidence_level))


def _resampling(settings: TableSettings) -> dict[str, Any]:
    return {
        "resamples": settings.bootstrap_resamples,
        "level": settings.confidence_level,
        "rng": np.random.default_rng([settings.bootstrap_seed]),
        "patients_per_resample": settings.patients_per_resample,
    }


def _columns(name: str, interval: Interval) -> dict[str, float]:
    # A difference of equal means is zero, and not what summation in another order leaves of it.
    ends = zip((name, f"{name}_lo", f"{name}_hi"), interval, strict=True)
    return {column: round(float(value), 12) for column, value in ends}
