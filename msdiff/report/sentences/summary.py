"""The opening of the report: what was run on whom, the main numbers, and what they do not show."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from msdiff.report.detection import sentences as detection
from msdiff.report.forecasting import sentences as forecasts
from msdiff.report.privacy import sentences as privacy
from msdiff.report.sentences.data import patients_of, patients_with_pairs
from msdiff.report.sentences.phrases import (
    FEW_PATIENTS,
    Run,
    capital,
    count,
    estimate,
    listed,
    number,
    percent,
    spelled,
)
from msdiff.report.synthesis import sentences as images
from msdiff.report.words import write

# What the splits are for, and the tables that rest on patients who were held out.
SPLITS = {"train": "for training", "validation": "for validation", "test": "for testing"}
HELD_OUT = {"augmentation": "test", "image_quality": "held-out"}


class Paragraph(NamedTuple):
    """A paragraph of the summary: what it is about, and its sentences."""

    title: str
    text: str


def warning(run: Run) -> str:
    """What the size of the test set forbids to conclude; empty where it is large enough to conclude something."""
    sizes = {what: int(run.ours(name)["n"].min()) for name, what in HELD_OUT.items() if len(run.ours(name))}
    if (forecast := _forecast_patients(run)) is not None:
        sizes["forecast test"] = forecast
    small = [count(n, f"{what} patient") for what, n in sizes.items() if n < FEW_PATIENTS]
    if not small:
        return ""
    return (
        f"This run proves nothing about any method. Its tables rest on {listed(small)}, and with fewer than "
        f"{FEW_PATIENTS} one patient more or less can turn any comparison around. It shows that the workflow runs from "
        "raw scans to tables, and nothing else."
    )


def summary(run: Run) -> list[Paragraph]:
    """The paragraphs of the summary, of what the run has."""
    written = [
        ("What was run", about_run(run)),
        ("Generated follow-ups", " ".join(_about_images(run))),
        ("Detection", " ".join(_about_detection(run))),
        ("Forecasts", " ".join([*forecasts.about_activity(run), *forecasts.about_trend(run)])),
        ("Privacy", " ".join(_about_privacy(run))),
        ("What this does not show", " ".join(_about_limits(run))),
    ]
    return [Paragraph(title, text) for title, text in written if text]


def about_run(run: Run) -> str:
    """Whose scans went in, how many follow-ups came out, and what was trained on them."""
    study = run.setting("study")
    patients = patients_with_pairs(run)
    sentences = []
    splits = listed([f"{n} {SPLITS.get(split, split)}" for split, n in run.splits.items()])
    of_whom = f", and is split into {splits}" if splits else ""
    if patients is not None:
        sentences.append(f"The cohort {study} has {count(patients, 'patient')} with a follow-up scan{of_whom}.")
    if simulated(run):
        sentences.append("It is the embedded cohort: its scans are simulated, and no patient was scanned.")
    generators = [write(name) for name in run.setting("synthesis.generators") or []]
    follow_ups = run.setting("synthesis.plan.mass.count")
    if generators and follow_ups:
        each = " each" if len(generators) > 1 else ""
        were = "was" if len(generators) == 1 else "were"
        sentences.append(
            f"{listed(generators)} {were} trained on the training patients and drew "
            f"{count(follow_ups, 'new follow-up')}{each} of them."
        )
    sentences += _about_forecasters(run)
    ours = run.ours("augmentation")
    if len(ours):
        networks = [write(str(name)) for name in ours["architecture"].unique()]
        ratios, seeds = list(dict.fromkeys(ours["real_synthetic"])), int(ours["seeds"].max())
        were, often = "was" if len(networks) == 1 else "were", "once" if seeds == 1 else f"{seeds} times"
        sentences.append(
            f"{capital(spelled(len(networks), 'detector'))} of new lesions ({listed(networks)}) {were} trained on real "
            f"and synthetic slices at {listed(ratios)}, {often} each, and tested on the real scans of "
            f"{count(ours['n'].max(), 'test patient')}."
        )
    return " ".join(sentences)


def simulated(run: Run, cohort: str | None = None) -> bool:
    """Whether the scans of a cohort, without a name the study's, are simulated."""
    name = cohort or run.setting("study")
    return run.setting(f"cohort.{name}") is not None and run.setting(f"cohort.{name}.sheet") is None


def _forecast_patients(run: Run) -> int | None:
    """Test patients of the forecasts, all arms together; None without forecasts."""
    ours = run.ours("activity_prediction")
    return int(ours["n"].max()) if len(ours) else None


def _about_forecasters(run: Run) -> Iterator[str]:
    """On whom forecasts were learned, and how many were drawn of whom."""
    cohort, tested, draws = forecasts.forecast_cohort(run), _forecast_patients(run), run.setting("forecasting.draws")
    if cohort is None or tested is None or draws is None:
        return
    patients = patients_of(run, cohort)
    of_whom = "" if patients is None else f" ({count(patients, 'patient')})"
    kind = "simulated cohort" if simulated(run, cohort) else "cohort"
    yield (
        f"A forecaster of new lesions was trained on the {kind} {cohort}{of_whom} and drew "
        f"{count(draws['test']['draws'], 'forecast')} for each of {count(tested, 'test patient')}."
    )


def _about_images(run: Run) -> Iterator[str]:
    ours = run.ours("image_quality")
    if len(ours):
        for name in images.generators(ours):
            lesion = images.row_of(ours, name, "lesion")
            if lesion is None:
                continue
            if contrast := images.about_contrast(lesion):
                yield f"Lesions drawn by {write(name)} have {contrast}."
            if not np.isnan(lesion["mae"]):
                yield f"Inside the change the mean absolute error is {images.about_lesion_error(ours, lesion)}."
            if adherence := images.about_adherence(ours, lesion):
                yield f"An independent detector finds the mask asked for with a Dice of {adherence}."
    if without := images.about_adherence_without(run):
        yield without


def _about_detection(run: Run) -> Iterator[str]:
    ours = run.ours("augmentation")
    if ours.empty:
        return
    for (generator, architecture), rows in ours.groupby(["generator", "architecture"]):
        group = rows.dropna(subset=["lesion_f1"]).set_index("real_synthetic")
        best = detection.best_mix(group, "lesion_f1")
        if detection.REAL_ONLY not in group.index or best is None:
            continue
        real = group.loc[detection.REAL_ONLY]
        name = detection.detector(run, str(generator), str(architecture))
        if best["lesion_f1"] > real["lesion_f1"]:
            yield (
                f"{name}: lesion F1 {estimate(real, 'lesion_f1')} with real slices alone, at best "
                f"{estimate(best, 'lesion_f1')} in a mix with synthetic ones ({best.name})"
                f"{detection.verdict(run, real, best, 'lesion_f1')}."
            )
        else:
            yield (
                f"{name}: lesion F1 {estimate(real, 'lesion_f1')} with real slices alone, and no more in a mix with "
                f"synthetic ones (at best {estimate(best, 'lesion_f1')})."
            )


def _about_privacy(run: Run) -> Iterator[str]:
    ours = run.ours("privacy")
    if ours.empty:
        return
    shares = [f"{percent(row['flagged_share'])} by {write(str(row['measure']))}" for _, row in ours.iterrows()]
    yield (
        f"Of the new follow-ups {listed(shares)} are beyond the limit of likeness to other patients' training scans, "
        f"which {percent(privacy.expected_share(run))} of real held-out slices exceed."
    )
    yield privacy.about_leakage(ours)


def _about_limits(run: Run) -> Iterator[str]:
    seeds = run.ours("augmentation")["seeds"].max() if len(run.ours("augmentation")) else np.nan
    level = run.setting("tables.confidence_level")
    if level is not None:
        yield (
            f"Brackets hold {number(100 * level)} % intervals from resampling patients; they tell nothing of other "
            "scanners, cohorts or trainings."
        )
    if warning(run):
        few = f"Resampling fewer than {FEW_PATIENTS} patients makes intervals too narrow"
        yield f"{few}: one that leaves 0 is no evidence."
    if seeds == 1:
        yield "Each detector was trained once, so that differences between ratios may be differences between trainings."
    if len(run.ours("counterfactuals")):
        yield "What a patient would have had under another treatment is not known, so no forecast of it is checked."
    if simulated(run):
        yield "Numbers on simulated scans say nothing about patients."
    yield "Nothing here was judged for clinical use."
