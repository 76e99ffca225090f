"""What the tables of forecasts share: the lists they read, the arms as rows, and the baseline by population.

The Monte Carlo baseline (Favero et al., arXiv 2508.07006, 2025, sections 4.1 and 4.3) knows a patient's arm or nothing:
it samples each outcome from a Bernoulli distribution whose probability is the training patients' share, many times, and
its metric is the mean over these runs. Resampled patients keep their sampled outcomes, and every resample is averaged
over all runs: an interval tells how much the baseline depends on which patients were tested, not on how its coins fell.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from msdiff.errors import BadInput
from msdiff.forecasting.judging import MonteCarloSettings
from msdiff.forecasting.slabs import Slabs, load_slabs
from msdiff.lists import read_results
from msdiff.metrics.regional import REGIONS

ALL_ARMS = "all"
NET2, MONTE_CARLO, AVERAGE = "net2", "monte_carlo", "average"
FORECAST_COLUMNS = [
    *("subject", "arm", "own_arm", "split", "activity_probability", "count_mean", "true_count", "true_active"),
    *(f"{region}_{score}" for region in REGIONS for score in ("score", "share")),
    *(f"true_{region}" for region in REGIONS),
]
VOXEL_COLUMNS = ["subject", "arm", "probability", "voxels", "positive_voxels"]


def read_slabs(values: Sequence[str]) -> Slabs:
    """The slabs of a folder with the fold of a file; BadInput for other values."""
    if len(values) != 2:
        raise BadInput(f"slabs: expected a folder of slabs and a fold, got {' '.join(values) or 'nothing'}")
    return load_slabs(*values)


def training_patients(slabs: Slabs) -> pd.DataFrame:
    """The patients of the training set, with their count and regions of the forecast session."""
    return slabs.patients[slabs.patients["split"] == "train"]


def read_forecasts(scores: str | Path) -> pd.DataFrame:
    """The patients of a folder of scores, one row per patient and arm, by name.

    Raises BadInput where the list cannot be read or is empty.
    """
    path = Path(scores) / "patients.tsv"
    forecasts = read_results(path, FORECAST_COLUMNS)
    if forecasts.empty:
        raise BadInput(f"{path}: expected at least one patient with a forecast, got none; sample forecasts first")
    return forecasts.sort_values(["subject", "arm"], ignore_index=True)


def read_own_forecasts(scores: str | Path) -> pd.DataFrame:
    """Forecasts under each patient's own arm alone, which the truth can judge; BadInput where there are none."""
    forecasts = read_forecasts(scores)
    own = forecasts[forecasts["arm"] == forecasts["own_arm"]].reset_index(drop=True)
    if own.empty or own["true_count"].isna().any():
        raise BadInput(f"{scores}: expected forecasts under the patients' own arms, with the truth; score them again")
    return own


def read_voxels(scores: str | Path) -> pd.DataFrame:
    """Voxels by patient and probability of a folder of scores; BadInput where the list cannot be read."""
    return read_results(Path(scores) / "voxels.tsv", VOXEL_COLUMNS)


def patients_by_arm(own_arms: pd.Series, arms: Sequence[str]) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Places of the patients of each arm, in the order of `arms`, empty ones too; then of all."""
    for arm in arms:
        yield arm, np.flatnonzero(own_arms == arm)
    yield ALL_ARMS, np.arange(len(own_arms))


def by_own_arm(own_arms: pd.Series, of_training: pd.Series) -> NDArray[np.float64]:
    """What the training patients of his arm say of each patient (patient,): the mean of `of_training` (index: arm).

    Raises BadInput where an arm has no training patient.
    """
    known = of_training.groupby(level=0).mean()
    missing = sorted(set(own_arms) - set(known.index))
    if missing:
        raise BadInput(f"arm {missing[0]}: expected training patients, got none; change the split of the cohort")
    return np.asarray(own_arms.map(known), dtype=np.float64)


def monte_carlo(probability: NDArray[np.float64], settings: MonteCarloSettings, stream: int = 0) -> NDArray[np.bool_]:
    """Outcomes (run, patient), each sampled with its patient's probability (patient,); `stream` numbers them."""
    chance = np.random.default_rng([settings.seed, stream + 1]).random((settings.runs, len(probability)))
    return np.asarray(chance < probability)


def mean_of_runs(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the runs (resample, run) that have a value, NaN where none has: (resample,)."""
    present = ~np.isnan(values)
    total, runs = np.where(present, values, 0).sum(axis=1), present.sum(axis=1)
    return np.asarray(np.divide(total, runs, out=np.full(len(values), np.nan), where=runs > 0))
