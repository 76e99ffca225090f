"""Whether a forecast probability is the share that comes true: of active patients, and of voxels that hold a lesion.

A row is a bin of probability: the mean of what was predicted, and the share that came true. The rows of all bins hold
the Brier score (Brier 1950), the mean squared error of the probability, beside that of a baseline that knows the arm
alone: the share of the training patients, or of their brain voxels. Voxels are pooled over patients; patients are the
unit of every interval.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd

from msdiff.forecasting.judging import CalibrationSettings
from msdiff.forecasting.slabs import Slabs
from msdiff.metrics.activity import bin_of, squared_error
from msdiff.metrics.intervals import clopper_pearson, pooled
from msdiff.tables.estimates import difference, estimate
from msdiff.tables.forecasts import by_own_arm, read_own_forecasts, read_slabs, read_voxels, training_patients
from msdiff.tables.layout import TableSettings, assemble, with_intervals
from msdiff.tables.registry import Table, one

ACTIVITY, VOXEL = "activity", "voxel"
ALL_BINS = "all"
COLUMNS = [
    *("cohort", "quantity", "bin", "n", "n_positive", "n_voxels", "n_positive_voxels", "predicted"),
    *with_intervals(["observed", "brier", "baseline_brier", "brier_difference"]),
]


def calibration_table(
    training: pd.DataFrame,
    forecasts: pd.DataFrame,
    voxels: pd.DataFrame,
    voxel_shares: pd.Series,
    cohort: str,
    calibration: CalibrationSettings,
    settings: TableSettings,
) -> pd.DataFrame:
    """Rows of activity, then of voxels: all bins, and each.

    `voxels` lists the test patients' brain voxels by probability, `voxel_shares` the share of lesion voxels of each
    training patient (index: arm), as `voxel_shares_of` gives them.
    """
    rows = [
        *_activity(training, forecasts, calibration.edges, settings),
        *_voxels(forecasts, voxels, voxel_shares, calibration.edges, settings),
    ]
    return assemble([{"cohort": cohort} | row for row in rows], [], COLUMNS)


def voxel_shares_of(slabs: Slabs) -> pd.Series:
    """Share of the brain's voxels that hold a new or enlarging lesion, of each training patient (index: arm)."""
    training = slabs.patients[slabs.patients["split"] == "train"]
    net2, brain = slabs.array("net2"), slabs.array("brain_mask")
    shares = []
    for row in training["row"]:
        inside = brain[row] > 0
        shares.append(np.count_nonzero((net2[row] > 0) & inside) / np.count_nonzero(inside))
    return pd.Series(shares, index=pd.Index(training["arm"], name="arm"), dtype=float)


def bin_names(edges: Sequence[float]) -> list[str]:
    """What the table calls the bins.

    >>> bin_names([0.0, 0.2, 1.0])
    ['0.0-0.2', '0.2-1.0']
    """
    texts = [f"{edge:.1f}" if round(edge, 1) == edge else f"{edge:g}" for edge in edges]
    return [f"{low}-{high}" for low, high in pairwise(texts)]


def _activity(
    training: pd.DataFrame, forecasts: pd.DataFrame, edges: Sequence[float], settings: TableSettings
) -> list[dict[str, object]]:
    truth = forecasts["true_active"].to_numpy() > 0
    probability = forecasts["activity_probability"].to_numpy(np.float64)
    share = by_own_arm(forecasts["arm"], (training.set_index("arm")["count"] > 0).astype(float))
    errors, baseline = squared_error(truth, probability), squared_error(truth, share)
    scores = (
        estimate("brier", errors, settings)
        | estimate("baseline_brier", baseline, settings)
        | difference("brier_difference", errors, baseline, settings)
    )
    chosen = bin_of(probability, edges)
    rows: list[dict[str, object]] = []
    for number, name in enumerate([ALL_BINS, *bin_names(edges)]):
        inside = chosen == number - 1 if number else np.ones(len(chosen), dtype=bool)
        n, positive = int(inside.sum()), int(truth[inside].sum())
        row: dict[str, object] = {"quantity": ACTIVITY, "bin": name, "n": n, "n_positive": positive}
        if n:
            exact = clopper_pearson(positive, n, settings.confidence_level)
            row |= {"predicted": float(probability[inside].mean())}
            row |= {"observed": exact.estimate, "observed_lo": exact.lo, "observed_hi": exact.hi}
        rows.append(row if number else row | scores)
    return rows


def _voxels(
    forecasts: pd.DataFrame,
    voxels: pd.DataFrame,
    voxel_shares: pd.Series,
    edges: Sequence[float],
    settings: TableSettings,
) -> list[dict[str, object]]:
    own = forecasts[["subject", "arm"]].assign(share=by_own_arm(forecasts["arm"], voxel_shares))
    levels = own.merge(voxels, on=["subject", "arm"], validate="one_to_many")
    count, positive = levels["voxels"], levels["positive_voxels"]
    for name, forecast in (("error", levels["probability"]), ("baseline", levels["share"])):
        levels[name] = positive * (1 - forecast) ** 2 + (count - positive) * forecast**2
    levels["expected"] = levels["probability"] * count
    sums = ["voxels", "positive_voxels", "expected", "error", "baseline"]
    chosen = bin_of(levels["probability"].to_numpy(np.float64), edges)
    rows: list[dict[str, object]] = []
    for number, name in enumerate([ALL_BINS, *bin_names(edges)]):
        inside = levels[chosen == number - 1] if number else levels
        by_patient = inside.groupby("subject")[sums].sum()
        total = by_patient.sum()
        row: dict[str, object] = {
            "quantity": VOXEL,
            "bin": name,
            "n": len(by_patient),
            "n_positive": int((by_patient["positive_voxels"] > 0).sum()),
            "n_voxels": int(total["voxels"]),
            "n_positive_voxels": int(total["positive_voxels"]),
        }
        if len(by_patient):
            row |= {"predicted": float(total["expected"] / total["voxels"])}
            observed = _share("observed", by_patient, "positive_voxels", settings)
            # Resamples of voxels that are all alike would claim certainty.
            alike = total["positive_voxels"] in (0, total["voxels"])
            row |= {"observed": observed["observed"]} if alike else observed
        if not number:
            error, baseline = (by_patient[[column, "voxels"]].to_numpy(np.float64) for column in ("error", "baseline"))
            row |= _share("brier", by_patient, "error", settings) | _share(
                "baseline_brier", by_patient, "baseline", settings
            )
            row |= difference("brier_difference", error, baseline, settings, pooled(_ratio))
        rows.append(row)
    return rows


def _share(name: str, by_patient: pd.DataFrame, column: str, settings: TableSettings) -> dict[str, float]:
    """The columns of a sum over all patients' voxels, per voxel."""
    return estimate(name, by_patient[[column, "voxels"]].to_numpy(np.float64), settings, pooled(_ratio))


def _ratio(total: float, voxels: float) -> float:
    return total / voxels if voxels else np.nan


class _Test(NamedTuple):
    """Forecasts of the test patients, and their voxels."""

    forecasts: pd.DataFrame
    voxels: pd.DataFrame


def _read_test(scores: str) -> _Test:
    return _Test(read_own_forecasts(scores), read_voxels(scores))


def _of_slabs(
    slabs: Slabs, test: _Test, cohort: str, calibration: CalibrationSettings, settings: TableSettings
) -> pd.DataFrame:
    return calibration_table(training_patients(slabs), *test, voxel_shares_of(slabs), cohort, calibration, settings)


TABLE = Table(
    title="Whether forecast probabilities hold",
    make=_of_slabs,
    inputs={"slabs": read_slabs, "test": one(_read_test), "cohort": one(str)},
    settings={"calibration": ("forecasting.calibration", CalibrationSettings), "settings": ("tables", TableSettings)},
    main_columns=(
        *("source", "quantity", "bin", "n", "n_positive", "n_voxels", "n_positive_voxels", "predicted", "observed"),
        *("brier", "baseline_brier"),
    ),
)
