"""Who will be active: forecast against a baseline by population, by treatment arm, in the form of NET2's table 3.

A patient is active with at least one new or enlarging lesion. The forecast's score is the share of its draws that have
one; the baseline samples outcomes by the training share of the patient's own arm (see msdiff.tables.forecasts).
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from msdiff.forecasting.judging import MonteCarloSettings
from msdiff.forecasting.slabs import Slabs
from msdiff.metrics import activity
from msdiff.tables import published
from msdiff.tables.estimates import resampled, weights
from msdiff.tables.forecasts import (
    ALL_ARMS,
    MONTE_CARLO,
    NET2,
    by_own_arm,
    mean_of_runs,
    monte_carlo,
    patients_by_arm,
    read_own_forecasts,
    read_slabs,
    training_patients,
)
from msdiff.tables.layout import TableSettings, assemble, with_intervals
from msdiff.tables.registry import Table, one

# By column: of one score per patient, by scikit-learn; and of many resamples at once.
METRICS = {
    "ap": (activity.average_precision, activity.average_precision_of),
    "auc": (activity.roc_auc, activity.roc_auc_of),
}
COLUMNS = [
    *("cohort", "arm", "method", "n", "n_positive", "training_prevalence"),
    *with_intervals([*METRICS, *(f"{metric}_difference" for metric in METRICS)]),
]


def activity_prediction_table(
    training: pd.DataFrame,
    forecasts: pd.DataFrame,
    arms: list[str],
    cohort: str,
    baseline: MonteCarloSettings,
    settings: TableSettings,
) -> pd.DataFrame:
    """Two rows per arm, and two for all: forecast and baseline over test patients (see msdiff.tables.forecasts)."""
    truth = forecasts["true_active"].to_numpy() > 0
    score = forecasts["activity_probability"].to_numpy(np.float64)
    share = by_own_arm(forecasts["arm"], (training.set_index("arm")["count"] > 0).astype(float))
    outcomes = monte_carlo(share, baseline)
    rows = []
    for arm, places in patients_by_arm(forecasts["arm"], arms):
        known = {"cohort": cohort, "arm": arm, "n": len(places), "n_positive": int(truth[places].sum())}
        net2, chance = _rows(truth[places], score[places], outcomes[:, places], settings)
        if arm != ALL_ARMS and len(places):
            chance["training_prevalence"] = share[places[0]]
        rows += [
            {**known, "method": NET2, **net2},
            {**known, "method": MONTE_CARLO, **chance},
        ]
    return assemble(rows, published.ACTIVITY_PREDICTION, COLUMNS)


def _rows(
    truth: NDArray[np.bool_], score: NDArray[np.float64], outcomes: NDArray[np.bool_], settings: TableSettings
) -> tuple[dict[str, float], dict[str, float]]:
    """Columns of the forecast, and of the baseline's outcomes (run, patient); empty where all had the same outcome."""
    net2: dict[str, float] = {}
    chance: dict[str, float] = {}
    if not 0 < truth.sum() < len(truth):
        return net2, chance
    runs, resamples = outcomes.astype(np.float64), weights(len(truth), settings)
    of_forecast = activity.counts_by_score(truth, score, resamples)
    of_runs = [activity.counts_by_score(truth, run, resamples) for run in runs]
    for name, (of_patients, of_counts) in METRICS.items():
        value, by_chance = of_patients(truth, score), float(np.mean([of_patients(truth, run) for run in runs]))
        values = of_counts(of_forecast)
        values_by_chance = mean_of_runs(np.stack([of_counts(counts) for counts in of_runs], axis=1))
        net2 |= resampled(name, value, values, settings)
        net2 |= resampled(f"{name}_difference", value - by_chance, values - values_by_chance, settings)
        chance |= resampled(name, by_chance, values_by_chance, settings)
    return net2, chance


def _of_slabs(
    slabs: Slabs, test: pd.DataFrame, cohort: str, monte_carlo: MonteCarloSettings, settings: TableSettings
) -> pd.DataFrame:
    return activity_prediction_table(training_patients(slabs), test, slabs.arms, cohort, monte_carlo, settings)


TABLE = Table(
    title="Who will have new lesions, by treatment arm",
    make=_of_slabs,
    inputs={"slabs": read_slabs, "test": one(read_own_forecasts), "cohort": one(str)},
    settings={"monte_carlo": ("forecasting.monte_carlo", MonteCarloSettings), "settings": ("tables", TableSettings)},
    main_columns=("source", "arm", "method", "n", "n_positive", "ap", "auc", "auc_difference"),
)
