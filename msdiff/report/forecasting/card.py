"""What the cards say of forecasters and their forecasts, as values for card.md.j2."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from msdiff.forecasting.slabs import Slabs
from msdiff.report.forecasting.sentences import forecast_cohort
from msdiff.report.phrases import count, listed, number
from msdiff.report.record import Record, Weights
from msdiff.report.run import SPLITS, simulated
from msdiff.report.words import write

# Table, question, keys and the estimates shown.
TABLES: tuple[tuple[str, str, list[str], list[str]], ...] = (
    ("activity_prediction", "Forecasts: who becomes active.", ["arm", "method", "n", "n_positive"], ["auc", "ap"]),
    (
        "regional_accuracy",
        "Forecasts: in which regions.",
        ["region", "method", "n", "n_positive"],
        ["balanced_accuracy", "precision", "recall", "f1"],
    ),
    ("lesion_count", "Forecasts: how many lesions.", ["arm", "method", "n"], ["mse_log_count"]),
    ("calibration", "Forecasts: whether probabilities hold.", [], []),
)


def card_values(record: Record) -> dict[str, Any]:
    """Forecasters, forecasts by purpose, and on whom they were learned and tested."""
    slabs = record.slabs
    return {
        "forecasters": {name: _about_weights(weights) for name, weights in record.forecasters.items()},
        "forecasts": {purpose: _about_forecasts(rows) for purpose, rows in record.forecasts.items()},
        "trained_on_simulated": simulated(record.run, forecast_cohort(record.run)),
        "slabs": slabs is not None,
        "patients_told": "" if slabs is None else _about_patients(record, slabs),
        "by_arm": None if slabs is None else _by_arm(slabs),
        "tables": TABLES,
    }


def _about_weights(weights: Weights) -> str:
    described = weights.description
    prior: Mapping[str, object] = described.get("prior", {})
    sessions, shape, arms = (list(prior.get(name, [])) for name in ("sessions", "shape", "arms"))  # type: ignore[call-overload]
    between = f" from {sessions[-2]} to {sessions[-1]}" if sessions else ""
    size = f" in a slab of {' x '.join(map(str, shape))} voxels" if shape else ""
    treatments = (
        f", under one of {count(len(arms), 'treatment')} ({listed([write(arm) for arm in arms])})" if arms else ""
    )
    channels = [str(channel).partition("@") for channel in described.get("channels", [])]
    shown = listed([f"{write(image)} at {session}" for image, _, session in channels])
    return (
        f"A diffusion model of masks of new and enlarging lesions{between}{size}{treatments}; it is shown {shown}. "
        f"{weights.n_values} parameters, weights SHA-256 {weights.sha256}."
    )


def _about_patients(record: Record, slabs: Slabs) -> str:
    """On whom forecasts were learned and tested, and how many of them had a new lesion."""
    cohort, patients = forecast_cohort(record.run), slabs.patients
    splits = _splits(slabs)
    active = [
        f"{int((patients.loc[patients['split'] == split, 'count'] > 0).sum())} of "
        f"{(patients['split'] == split).sum()} {SPLITS[split]}"
        for split in splits
    ]
    kind = "It is simulated: no patient was scanned. " if simulated(record.run, cohort) else ""
    return (
        f"The cohort {cohort}. {kind}{count(len(patients), 'patient')} with scans at {listed(slabs.sessions)}; with a "
        f"new lesion in the slab at {slabs.sessions[-1]}: {listed(active)}. A patient is in one set only."
    )


def _splits(slabs: Slabs) -> list[str]:
    return [split for split in SPLITS if split in set(slabs.patients["split"])]


def _by_arm(slabs: Slabs) -> pd.DataFrame:
    """Patients by arm and split."""
    table = pd.crosstab(slabs.patients["arm"], slabs.patients["split"]).reindex(
        index=[arm for arm in slabs.arms if arm in set(slabs.patients["arm"])], columns=_splits(slabs)
    )
    return table.reset_index()


def _about_forecasts(rows: pd.DataFrame) -> str:
    """What the forecasts of a purpose are, as a datasheet asks."""
    first, patients, arms = rows.iloc[0], rows["subject"].nunique(), rows["arm"].nunique()
    under = "under their own arm" if (rows["arm"] == rows["own_arm"]).all() else f"under {count(arms, 'arm')}"
    digests = listed([f"`{digest}`" for digest in sorted(set(rows["weights_sha256"]))])
    return (
        f"{count(first['draws'], 'mask')} of new lesions for each of {count(patients, 'patient')} "
        f"{SPLITS.get(str(first['split']), str(first['split']))}, {under}, by the "
        f"{write(str(first['model']))}, weights SHA-256 {digests}; sampler {write(str(first['sampler']))}, "
        f"{count(int(first['steps']), 'step')}, guidance weight {number(float(first['guidance_weight']))}. "
        "They are synthetic, and no patient's future."
    )
