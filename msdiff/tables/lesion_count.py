"""How many new lesions there will be: forecast against the arm's average, in the form of NET2's table 4.

A patient's error is (ln(1 + predicted) - ln(1 + true))^2, so that the many lesions of a few patients do not outweigh
the rest; 1 is added for those without. The forecast predicts the mean count of its draws, the baseline the mean count
of the training patients of the patient's own arm.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from msdiff.forecasting.slabs import Slabs
from msdiff.tables import published
from msdiff.tables.estimates import difference, estimate
from msdiff.tables.forecasts import (
    AVERAGE,
    NET2,
    by_own_arm,
    patients_by_arm,
    read_own_forecasts,
    read_slabs,
    training_patients,
)
from msdiff.tables.layout import TableSettings, assemble, with_intervals
from msdiff.tables.registry import Table, one

METRIC = "mse_log_count"
COLUMNS = ["cohort", "arm", "method", "n", "n_positive", *with_intervals([METRIC, f"{METRIC}_difference"])]


def lesion_count_table(
    training: pd.DataFrame, forecasts: pd.DataFrame, arms: list[str], cohort: str, settings: TableSettings
) -> pd.DataFrame:
    """Two rows per arm, and two for all: forecast and average over test patients (see msdiff.tables.forecasts)."""
    true = forecasts["true_count"].to_numpy(np.float64)
    average = by_own_arm(forecasts["arm"], training.set_index("arm")["count"].astype(float))
    net2_error = squared_log_error(forecasts["count_mean"].to_numpy(np.float64), true)
    average_error = squared_log_error(average, true)
    rows = []
    for arm, places in patients_by_arm(forecasts["arm"], arms):
        known = {"cohort": cohort, "arm": arm, "n": len(places), "n_positive": int((true[places] > 0).sum())}
        net2, baseline = net2_error[places], average_error[places]
        gain = difference(f"{METRIC}_difference", net2, baseline, settings)
        rows += [
            {**known, "method": NET2, **estimate(METRIC, net2, settings), **gain},
            {**known, "method": AVERAGE, **estimate(METRIC, baseline, settings)},
        ]
    return assemble(rows, published.LESION_COUNT, COLUMNS)


def squared_log_error(predicted: NDArray[np.float64], true: NDArray[np.float64]) -> NDArray[np.float64]:
    """(ln(1 + predicted) - ln(1 + true))^2 of each patient (patient,)."""
    return np.asarray((np.log1p(predicted) - np.log1p(true)) ** 2)


def _of_slabs(slabs: Slabs, test: pd.DataFrame, cohort: str, settings: TableSettings) -> pd.DataFrame:
    return lesion_count_table(training_patients(slabs), test, slabs.arms, cohort, settings)


TABLE = Table(
    title="How many new lesions, by treatment arm",
    make=_of_slabs,
    inputs={"slabs": read_slabs, "test": one(read_own_forecasts), "cohort": one(str)},
    settings={"settings": ("tables", TableSettings)},
)
