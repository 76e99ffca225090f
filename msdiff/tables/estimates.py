"""Estimates with their intervals, as the columns of a table: m, m_lo, m_hi."""

import numpy as np
from numpy.typing import NDArray

from msdiff.metrics.intervals import Statistic, bootstrap, mean
from msdiff.tables.layout import TableSettings


def estimate(
    name: str, values: NDArray[np.float64], settings: TableSettings, statistic: Statistic = mean
) -> dict[str, float]:
    """The columns name, name_lo and name_hi: `statistic` of the values (patient, ...) and its percentile interval.

    Every call draws from the same seed, so rows over the same patients are resampled alike and can be compared.
    """
    interval = bootstrap(
        values,
        statistic,
        settings.bootstrap_resamples,
        settings.confidence_level,
        np.random.default_rng([settings.bootstrap_seed]),
        patients_per_resample=settings.patients_per_resample,
    )
    return {name: interval.estimate, f"{name}_lo": interval.lo, f"{name}_hi": interval.hi}
