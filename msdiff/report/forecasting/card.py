"""What the two cards say of the forecasts: what draws them, on whom it learned, what they are worth and not for."""

from collections.abc import Mapping

import pandas as pd

from msdiff.forecasting.slabs import Slabs
from msdiff.report.cards.record import Item, Record, Weights, grid
from msdiff.report.forecasting.sentences import forecast_cohort
from msdiff.report.methods import methods
from msdiff.report.phrases import capital, count, listed, number
from msdiff.report.run import SPLITS, simulated
from msdiff.report.systems import say
from msdiff.report.words import write

USE = (
    "Research: to study how well new lesions can be forecast from images and a treatment, and how such forecasts "
    "should be judged."
)
NO_USE = (
    "No clinical use of any kind: no prognosis, no choice or change of a treatment, no word to a patient. A forecast "
    "under another treatment than the patient's own is no effect of that treatment, and nothing can confirm it."
)
# By the table: the question, and the estimates shown.
TABLES = {
    "activity_prediction": ("Forecasts: who becomes active.", ["arm", "method", "n", "n_positive"], ["auc", "ap"]),
    "regional_accuracy": (
        "Forecasts: in which regions.",
        ["region", "method", "n", "n_positive"],
        ["balanced_accuracy", "precision", "recall", "f1"],
    ),
    "lesion_count": ("Forecasts: how many lesions.", ["arm", "method", "n"], ["mse_log_count"]),
}


def about_weights(record: Record) -> list[Item]:
    """What each forecaster is, its use and its limits; nothing where a run has none."""
    if not record.forecasters:
        return []
    items = [Item(f"{capital(write(name))}.", _about(weights)) for name, weights in record.forecasters.items()]
    return [
        *items,
        Item("Intended use of forecasts.", USE),
        Item("Not intended for forecasts.", NO_USE),
        Item("Known limits of forecasts.", _limits(record)),
    ]


def _about(weights: Weights) -> str:
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


def _limits(record: Record) -> str:
    limits = [
        "Lesions outside the slab are not forecast, and none that shrink.",
        "A treatment is one of the arms it learned: another drug, dose or change of drug has no forecast.",
    ]
    if simulated(record.run, forecast_cohort(record.run)):
        limits.append(
            "Trained on simulated patients, whose arms differ by the treatment alone: of real ones it knows nothing."
        )
    else:
        limits.append("Patients of different trials differ in more than the treatment, which it cannot tell apart.")
    return " ".join(limits)


def about_cohort(record: Record) -> list[Item]:
    """On whom forecasts were learned and tested: patients by arm and use."""
    if record.slabs is None:
        return []
    slabs, cohort = record.slabs, forecast_cohort(record.run)
    patients = slabs.patients
    by_split = patients["split"].value_counts()
    splits = [split for split in SPLITS if split in by_split]
    active = [
        f"{int((patients.loc[patients['split'] == split, 'count'] > 0).sum())} of {by_split[split]} {SPLITS[split]}"
        for split in splits
    ]
    kind = "It is simulated: no patient was scanned. " if simulated(record.run, cohort) else ""
    text = (
        f"The cohort {cohort}. {kind}{count(len(patients), 'patient')} with scans at {listed(slabs.sessions)}; with a "
        f"new lesion in the slab at {slabs.sessions[-1]}: {listed(active)}. A patient is in one set only."
    )
    return [Item("Forecasts: patients.", text, _by_arm(slabs, splits))]


def _by_arm(slabs: Slabs, splits: list[str]) -> str:
    table = pd.crosstab(slabs.patients["arm"], slabs.patients["split"]).reindex(
        index=[arm for arm in slabs.arms if arm in set(slabs.patients["arm"])], columns=splits
    )
    return grid(table.reset_index(), ["arm", *splits], [])


def about_training(record: Record) -> list[Item]:
    """How forecasters were trained and drawn from."""
    return [Item("Forecasts.", dict(methods(record.run)).get("Forecasts", ""))] if record.forecasters else []


def about_performance(record: Record) -> list[Item]:
    """What the tables of forecasts say."""
    items = []
    for name, (question, keys, metrics) in TABLES.items():
        rows = record.run.ours(name)
        if len(rows):
            items.append(Item(question, say(name, record.run), grid(rows, keys, metrics)))
    if len(record.run.ours("calibration")):
        items.append(Item("Forecasts: whether probabilities hold.", say("calibration", record.run)))
    return items


def about_treatments(record: Record) -> list[Item]:
    """What the same patients are forecast under every arm."""
    rows = record.run.ours("counterfactuals")
    if rows.empty:
        return []
    metrics = ["mean_predicted_count", "active_fraction", "active_difference_to_placebo"]
    said = say("counterfactuals", record.run)
    return [Item("Forecasts of the same patients under every treatment.", said, grid(rows, ["arm", "n"], metrics))]


def about_set(record: Record) -> list[Item]:
    """What the set of drawn forecasts is, as a datasheet asks; nothing where a run has none."""
    items = []
    for purpose, rows in record.forecasts.items():
        first, patients, arms = rows.iloc[0], rows["subject"].nunique(), rows["arm"].nunique()
        under = "under their own arm" if (rows["arm"] == rows["own_arm"]).all() else f"under {count(arms, 'arm')}"
        digests = listed([f"`{digest}`" for digest in sorted(set(rows["weights_sha256"]))])
        items.append(
            Item(
                f"Which forecasts are there ({write(purpose)})?",
                f"{count(first['draws'], 'mask')} of new lesions for each of {count(patients, 'patient')} "
                f"{SPLITS.get(str(first['split']), str(first['split']))}, {under}, by the "
                f"{write(str(first['model']))}, weights SHA-256 {digests}; sampler {write(str(first['sampler']))}, "
                f"{count(int(first['steps']), 'step')}, guidance weight {number(float(first['guidance_weight']))}. "
                "They are synthetic, and no patient's future.",
            )
        )
    return items
