"""Sentences on generated images: against real ones, and without each idea of the method."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from msdiff.report.phrases import FEW_PATIENTS, capital, count, estimate, limits, listed, number, overlap, rests_on
from msdiff.report.run import Run
from msdiff.report.words import write
from msdiff.tables.image_quality import BASELINES, NOISE_FLOOR, REAL, REFERENCES

# What any honest reader would compare a generator with, in this order.
RIVALS = (COPY, PASTE) = ("copy_baseline", "paste_lesion")
COMPLETE = "complete"
# What the ablation measures, as a sentence calls it.
MEASURES = {
    "mae_brain": "the error in the brain",
    "mae_lesion": "the error in lesions",
    "lesion_contrast_ratio": "lesion contrast",
    "adherence_dice": "adherence to the mask",
    "change_outside": "change outside the mask",
}


def about_image_quality(run: Run) -> str:
    """Whether the generators put lesions where they were asked to, and whether they beat what is simpler."""
    ours = run.ours("image_quality")
    sentences = [sentence for name in generators(ours) for sentence in _about_generator(ours, name)]
    sentences.append(rests_on(ours, "held-out"))
    sentences.append("A small error says that an image resembles the real one, not that it is useful or safe to use.")
    return " ".join(sentences)


def generators(ours: pd.DataFrame) -> list[str]:
    """The generators of the table, without the baselines and references they are held against."""
    return [str(name) for name in dict.fromkeys(ours["generator"]) if name not in (*BASELINES, *REFERENCES)]


def row_of(ours: pd.DataFrame, generator: str, region: str) -> pd.Series | None:
    """The row of a generator in a region; None where there is none."""
    rows = ours[(ours["generator"] == generator) & (ours["region"] == region)]
    return rows.iloc[0] if len(rows) else None


def about_contrast(row: pd.Series) -> str:
    """How bright drawn lesions are, as the rest of a sentence; empty where it was not measured."""
    if np.isnan(row["lesion_contrast_ratio"]):
        return ""
    low, high = limits(row, "lesion_contrast_ratio")
    verdict = "; the interval holds 1, where both are equal" if low <= 1 <= high else ""
    verdict = ", more than these have" if low > 1 else verdict
    verdict = ", less than these have" if high < 1 else verdict
    return f"{estimate(row, 'lesion_contrast_ratio')} times the contrast of the real ones{verdict}"


def about_lesion_error(ours: pd.DataFrame, row: pd.Series) -> str:
    """The error inside the change beside that of simpler follow-ups, as the rest of a sentence."""
    against = []
    for name in RIVALS:
        rival = row_of(ours, name, "lesion")
        if rival is None or np.isnan(rival["mae"]):
            continue
        relation = "below" if row["mae"] < rival["mae"] else "above" if row["mae"] > rival["mae"] else "equal to"
        unsure = ", with overlapping intervals" if overlap(row, rival, "mae") else ""
        against.append(f"{relation} that of a {write(name)} ({estimate(rival, 'mae')}{unsure})")
    return f"{estimate(row, 'mae')}" + (f", {listed(against)}" if against else "")


def about_adherence(ours: pd.DataFrame, row: pd.Series) -> str:
    """How well an independent detector finds what was asked for, as the rest of a sentence; empty if not measured."""
    if np.isnan(row["adherence_dice"]):
        return ""
    real = row_of(ours, REAL, "lesion")
    if real is None or np.isnan(real["adherence_dice"]):
        return estimate(row, "adherence_dice")
    verdict = ""
    if overlap(row, real, "adherence_dice") is False:
        easier = row["adherence_dice"] > real["adherence_dice"]
        verdict = f"; drawn lesions are {'easier' if easier else 'harder'} to find than real ones"
    painted = row_of(ours, PASTE, "lesion")
    beside = "" if painted is None else f", and {estimate(painted, 'adherence_dice')} where the mask is only painted"
    against = f"against {estimate(real, 'adherence_dice')} in real follow-ups"
    return f"{estimate(row, 'adherence_dice')}, {against}{beside}{verdict}"


def _about_generator(ours: pd.DataFrame, name: str) -> Iterator[str]:
    lesion = row_of(ours, name, "lesion")
    if lesion is not None:
        if contrast := about_contrast(lesion):
            yield f"Lesions drawn by {write(name)} have {contrast}."
        if not np.isnan(lesion["mae"]):
            yield f"Inside the change its mean absolute error is {about_lesion_error(ours, lesion)}."
        if adherence := about_adherence(ours, lesion):
            yield f"A detector that did not train it finds the mask asked for with a Dice of {adherence}."
    row, floor = row_of(ours, name, "outside"), row_of(ours, NOISE_FLOOR, "outside")
    if row is not None and floor is not None and floor["mae"] > 0 and not np.isnan(row["mae"]):
        times = number(row["mae"] / floor["mae"])
        yield f"Where nothing changed its error is {estimate(row, 'mae')}, {times} times that between two real scans."
    outside, real = row_of(ours, name, "outside"), row_of(ours, REAL, "outside")
    if outside is not None and real is not None and not np.isnan([outside["change_mae"], real["change_mae"]]).any():
        yield (
            f"There it departs from the baseline by {estimate(outside, 'change_mae')}, a real follow-up by "
            f"{estimate(real, 'change_mae')}."
        )


def about_ablation(run: Run) -> str:
    """What changes when one idea is left out, by the intervals of the paired differences."""
    ours = run.ours("ablation")
    variants = ours[ours["variant"] != COMPLETE]
    sentences = [f"{capital(write(row['variant']))}: {moved(row)}." for _, row in variants.iterrows()]
    tested = sum(int(variants[name].notna().sum()) for name in _differences(ours))
    if tested > 1:
        sentences.append(
            f"These are {tested} differences without a correction; even if nothing mattered, about "
            f"{number(max(0.1, round(tested * run.chance, 1)))} of their intervals would miss 0 by chance."
        )
    seeds = int(ours["seeds"].min())
    if seeds == 1:
        sentences.append("Each variant was trained once, so that a difference may be one of the seed.")
    else:
        sentences.append(f"Each variant was trained {seeds} times; the intervals tell of patients, not of seeds.")
    sentences.append(rests_on(ours, "held-out"))
    if int(ours["n"].min()) < FEW_PATIENTS:
        sentences.append("Of so few, intervals by resampling are too narrow: one that leaves 0 is no evidence.")
    return " ".join(sentences)


def moved(row: pd.Series) -> str:
    """Which measures of a variant differ from the complete method's beyond their interval."""
    found = []
    for name in _differences(row):
        low, high = limits(row, name)
        if low > 0 or high < 0:
            rises, ends = low > 0, sorted((abs(low), abs(high)))
            change = f"{number(abs(row[name]))} [{number(ends[0])}, {number(ends[1])}]"
            measure = MEASURES.get(name.removesuffix("_difference"), write(name.removesuffix("_difference")))
            found.append(f"{measure} {'rises' if rises else 'falls'} by {change}")
    return listed(found) if found else "no measure moves beyond its interval"


def about_adherence_without(run: Run) -> str:
    """What leaving out each idea does to adherence, in one sentence for the summary; empty without a table."""
    ours = run.ours("ablation")
    variants = ours[ours["variant"] != COMPLETE] if len(ours) else ours
    if variants.empty:
        return ""
    moves: dict[str, list[str]] = {"falls": [], "rises": [], "stays within its interval": []}
    for _, row in variants.iterrows():
        low, high = limits(row, "adherence_dice_difference")
        if np.isnan([low, high]).any():
            continue
        verb = "falls" if high < 0 else "rises" if low > 0 else "stays within its interval"
        moves[verb].append(write(row["variant"]))
    told = [f"{verb} {listed(names)}" for verb, names in moves.items() if names]
    if not told:
        return ""
    return f"In a small network adherence to the mask {'; it '.join(told)}."


def _differences(columns: pd.DataFrame | pd.Series) -> list[str]:
    names = columns.columns if isinstance(columns, pd.DataFrame) else columns.index
    return [name for name in names if name.endswith("_difference")]


def generators_of(run: Run) -> list[str]:
    """The generators of a run: by their weights, else by its tables."""
    tables = [run.ours(name) for name in ("image_quality", "augmentation", "privacy")]
    named = [name for ours in tables if len(ours) for name in generators(ours)]
    return list(dict.fromkeys(run.generators or named))


def about_generators(run: Run) -> Iterator[str]:
    """How many follow-ups came out."""
    names = [write(name) for name in generators_of(run)]
    follow_ups = run.setting("synthesis.plan.mass.count")
    if names and follow_ups:
        each = " each" if len(names) > 1 else ""
        were = "was" if len(names) == 1 else "were"
        yield (
            f"{listed(names)} {were} trained on the training patients and drew "
            f"{count(follow_ups, 'new follow-up')}{each} of them."
        )


def about_images(run: Run) -> Iterator[str]:
    """The main numbers of the images, and what the ablation says of adherence."""
    ours = run.ours("image_quality")
    if len(ours):
        for name in generators(ours):
            lesion = row_of(ours, name, "lesion")
            if lesion is None:
                continue
            if contrast := about_contrast(lesion):
                yield f"Lesions drawn by {write(name)} have {contrast}."
            if not np.isnan(lesion["mae"]):
                yield f"Inside the change the mean absolute error is {about_lesion_error(ours, lesion)}."
            if adherence := about_adherence(ours, lesion):
                yield f"An independent detector finds the mask asked for with a Dice of {adherence}."
    if without := about_adherence_without(run):
        yield without
