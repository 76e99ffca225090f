"""In which regions new lesions will lie: forecast against a baseline by population, in the form of NET2's table 2.

A patient is positive in a region with a new or enlarging lesion there, and predicted positive where his score reaches a
threshold, the same for all regions: tuned on validation patients for the best mean of their balanced accuracies. The
baseline samples labels by the region's share of the training patients (see msdiff.tables.forecasts).
"""

from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from msdiff.forecasting.judging import MonteCarloSettings, RegionalSettings
from msdiff.forecasting.slabs import Slabs
from msdiff.metrics import activity
from msdiff.metrics.regional import REGIONS
from msdiff.tables import published
from msdiff.tables.estimates import resampled, weights
from msdiff.tables.forecasts import (
    MONTE_CARLO,
    NET2,
    mean_of_runs,
    monte_carlo,
    read_own_forecasts,
    read_slabs,
    training_patients,
)
from msdiff.tables.layout import TableSettings, assemble, with_intervals
from msdiff.tables.registry import Table, one

METRICS = {
    "balanced_accuracy": activity.balanced_accuracy,
    "precision": activity.precision,
    "recall": activity.recall,
    "f1": activity.f1,
}
COLUMNS = [
    *("cohort", "region", "method", "n", "n_positive", "training_prevalence", "threshold"),
    *with_intervals([*METRICS, "balanced_accuracy_difference"]),
]
# By what RegionalSettings.predict names.
SCORES = {"ensemble": "score", "draws": "share"}
# Where validation patients cannot tell.
UNTUNED = 0.5


def regional_accuracy_table(
    training: pd.DataFrame,
    validation: pd.DataFrame,
    test: pd.DataFrame,
    cohort: str,
    regional: RegionalSettings,
    baseline: MonteCarloSettings,
    settings: TableSettings,
) -> pd.DataFrame:
    """Two rows per region, forecast and baseline, over the test patients' forecasts."""
    tuned = regional.threshold == "tuned"
    threshold = tuned_threshold(validation, regional.predict) if tuned else float(regional.threshold)
    resamples = weights(len(test), settings)
    rows = []
    for stream, region in enumerate(REGIONS):
        truth, score = _truth(test, region), _score(test, region, regional.predict)
        share = float(training[region].mean())
        outcomes = monte_carlo(np.full(len(test), share), baseline, stream)
        known = {"cohort": cohort, "region": region, "n": len(test), "n_positive": int(truth.sum())}
        net2: dict[str, float] = {"threshold": threshold}
        chance: dict[str, float] = {"training_prevalence": share}
        for name in METRICS:
            value, values = _metric(name, truth, (score >= threshold)[None], resamples)
            by_chance, values_by_chance = _metric(name, truth, outcomes, resamples)
            net2 |= resampled(name, value, values, settings)
            chance |= resampled(name, by_chance, values_by_chance, settings)
            if name == "balanced_accuracy":
                net2 |= resampled(f"{name}_difference", value - by_chance, values - values_by_chance, settings)
        rows += [
            {**known, "method": NET2, **net2},
            {**known, "method": MONTE_CARLO, **chance},
        ]
    return assemble(rows, published.REGIONAL_ACCURACY, COLUMNS)


def tuned_threshold(validation: pd.DataFrame, predict: Literal["ensemble", "draws"]) -> float:
    """The score from which on a patient counts as positive, by the validation patients' forecasts.

    Of all scores that occur, the one with the best balanced accuracy, in the mean over the regions where some patients
    are positive and some are not; of equally good ones the nearest to 0.5, then the higher. 0.5 where no region tells.
    """
    scores = {region: _score(validation, region, predict) for region in REGIONS}
    candidates = np.unique(np.concatenate(list(scores.values())))
    candidates = candidates[candidates > 0]
    everyone = np.ones((1, len(validation)))
    accuracies = [
        activity.balanced_accuracy(
            activity.label_counts(_truth(validation, region), score >= candidates[:, None], everyone)
        )[0]
        for region, score in scores.items()
    ]
    telling = [values for values in accuracies if len(values) and not np.isnan(values).any()]
    if not telling:
        return UNTUNED
    accuracy = np.round(np.mean(telling, axis=0), 12)
    best = candidates[accuracy == accuracy.max()]
    return float(min(best, key=lambda score: (round(abs(score - UNTUNED), 12), -score)))


def _metric(
    name: str, truth: NDArray[np.bool_], labels: NDArray[np.bool_], resamples: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]]:
    """A metric of labels (run, patient), in the mean over the runs: of the patients, and of each resample."""

    def of(patients: NDArray[np.float64]) -> NDArray[np.float64]:
        return mean_of_runs(METRICS[name](activity.label_counts(truth, labels, patients)))

    return float(of(np.ones((1, len(truth))))[0]), of(resamples)


def _truth(forecasts: pd.DataFrame, region: str) -> NDArray[np.bool_]:
    return np.asarray(forecasts[f"true_{region}"].to_numpy(np.float64) > 0)


def _score(forecasts: pd.DataFrame, region: str, predict: Literal["ensemble", "draws"]) -> NDArray[np.float64]:
    return np.asarray(forecasts[f"{region}_{SCORES[predict]}"].to_numpy(np.float64))


def _of_slabs(
    slabs: Slabs,
    validation: pd.DataFrame,
    test: pd.DataFrame,
    cohort: str,
    regional: RegionalSettings,
    monte_carlo: MonteCarloSettings,
    settings: TableSettings,
) -> pd.DataFrame:
    training = training_patients(slabs)
    return regional_accuracy_table(training, validation, test, cohort, regional, monte_carlo, settings)


TABLE = Table(
    title="In which regions new lesions come",
    make=_of_slabs,
    inputs={
        "slabs": read_slabs,
        "validation": one(read_own_forecasts),
        "test": one(read_own_forecasts),
        "cohort": one(str),
    },
    settings={
        "regional": ("forecasting.regional", RegionalSettings),
        "monte_carlo": ("forecasting.monte_carlo", MonteCarloSettings),
        "settings": ("tables", TableSettings),
    },
    main_columns=(
        *("source", "region", "method", "n", "n_positive", "balanced_accuracy", "precision", "recall", "f1"),
        "balanced_accuracy_difference",
    ),
)
