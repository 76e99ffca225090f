"""Figures of slices: generated follow-ups beside real ones, and the preprocessing of the patients that fit worst."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from msdiff.report.colours import DEEP_GREY, REGION_COLOURS, VERMILION, YELLOW
from msdiff.report.pictures import (
    DIFFERENCE_LIMIT,
    MINUS,
    ORIENTATION,
    STYLE,
    Image,
    Picture,
    aspect_of,
    difference_bar,
    mark_sides,
    outline,
    panels,
    show,
    show_difference,
    window_of,
)
from msdiff.sampling.shards import Shard
from msdiff.stack.intensities import lesion_intensity
from msdiff.stack.reading import Stack


def plot_follow_ups(stack: Stack, contrast: str, shards: Sequence[Shard], n_patients: int) -> Picture | None:
    """Generated follow-ups of held-out patients beside what they were made from and what really came.

    One row per patient (the sample with the most change), patients with most change first, `n_patients` at most; None
    where no sample has a real follow-up.
    """
    samples = _samples_with_truth(shards)
    if not samples:
        return None
    names = ["Baseline", "Change asked for", "Real follow-up", "Generated follow-up", "Mask painted"]
    names += [f"Generated {MINUS} baseline", f"Generated {MINUS} real"]
    chosen = samples[:n_patients]
    images = stack.array(contrast)
    intensity = lesion_intensity(stack, contrast)
    aspect = aspect_of(stack.grid)
    with mpl.rc_context(STYLE):
        figure, axes = panels(len(chosen), names, aspect, images.shape[-2:])
        for row, (shard, index, manifest) in zip(axes, chosen, strict=True):
            number = int(manifest["slice"])
            baseline = stack.read(contrast, manifest["baseline_row"], number).astype(np.float32)
            real = stack.read(contrast, manifest["follow_up_row"], number).astype(np.float32)
            generated, mask = shard.read("follow_up", index), shard.read("change_mask", index)
            window = window_of(mask)
            brain = stack.read("brain_mask", manifest["baseline_row"], number) > 0
            painted = np.where(mask & brain, intensity, baseline)
            for axis, image in zip(row, (baseline, baseline, real, generated, painted), strict=False):
                show(axis, image, aspect, window)
            outline(row[1], mask, VERMILION)
            for axis, image in zip(row[5:], (generated - baseline, generated - real), strict=True):
                show_difference(axis, image, aspect)
                outline(axis, mask, "black")
            row[0].set_ylabel(f"{manifest['baseline_subject']}\nslice {number}", fontsize=9)
        mark_sides(axes[0, 0])
        difference_bar(figure, axes[:, 5:])
    caption = (
        f"One held-out patient per row ({len(chosen)} of {len(samples)}, those with most change first), the slice "
        f"with most change. {ORIENTATION} Insets enlarge the change; its outline is red on the baseline, black on "
        "the differences. Mask painted: the baseline with the mean intensity of training lesions in the mask. "
        f"Intensities run from -1 to 1; differences are cut at ±{DIFFERENCE_LIMIT}."
    )
    return Picture(figure, "Generated follow-ups of held-out patients", caption)


def plot_preprocessing(stack: Stack, contrast: str, n_patients: int) -> Picture | None:
    """Quality control of the preprocessing: the patients whose two scans agree least inside the brain come first.

    None where the stack has no pair.
    """
    pairs = stack.slices.drop_duplicates("pair")
    if pairs.empty:
        return None
    images, brains = stack.array(contrast), stack.array("brain_mask")
    changes, regions = stack.array("change_mask"), stack.array("regions")
    rows = [
        (_correlation(images, brains, pair.baseline_row, pair.follow_up_row), pair)
        for pair in pairs.itertuples(index=False)
    ]
    rows.sort(key=lambda row: (row[0], row[1].subject, row[1].follow_up_session))
    worst = list({pair.subject: (value, pair) for value, pair in reversed(rows)}.values())[::-1]
    worst.sort(key=lambda row: row[0])
    names = ["Baseline, brain", "Follow-up, brain", "Baseline | follow-up", "Change (follow-up)", "Regions"]
    aspect = aspect_of(stack.grid)
    chosen = worst[:n_patients]
    with mpl.rc_context(STYLE):
        figure, axes = panels(len(chosen), names, aspect, images.shape[-2:])
        for row, (correlation, pair) in zip(axes, chosen, strict=True):
            brain = np.asarray(brains[pair.baseline_row], dtype=bool)
            middle = int(np.argmax(brain.sum(axis=(1, 2))))
            change = np.asarray(changes[pair.follow_up_row], dtype=bool)
            most = int(np.argmax(change.sum(axis=(1, 2)))) if change.any() else middle
            baseline = np.asarray(images[pair.baseline_row, middle], dtype=np.float32)
            follow_up = np.asarray(images[pair.follow_up_row, middle], dtype=np.float32)
            for axis, image in zip(row, (baseline, follow_up, _checkerboard(baseline, follow_up)), strict=False):
                show(axis, image, aspect)
            outline(row[0], brain[middle], YELLOW)
            outline(row[1], brain[middle], YELLOW)
            show(
                row[3], np.asarray(images[pair.follow_up_row, most], dtype=np.float32), aspect, window_of(change[most])
            )
            outline(row[3], change[most], VERMILION)
            show(row[4], baseline, aspect)
            _show_regions(row[4], np.asarray(regions[pair.baseline_row, middle]), aspect)
            row[0].set_ylabel(f"{pair.subject}\nr = {correlation:.3f}", fontsize=9)
        mark_sides(axes[0, 0])
    caption = (
        f"One patient per row: the {len(chosen)} of {len(worst)} whose baseline and follow-up correlate least inside "
        f"the brain (r). {ORIENTATION} Yellow: the brain mask. Third panel: baseline and follow-up in alternate "
        "squares, so that a faulty registration breaks the edges. Fourth: the slice with most change, outlined. "
        "Regions: white matter light blue, cortex orange, CSF dark blue, other labels green."
    )
    return Picture(figure, "Preprocessing: the patients that fit worst", caption)


def _samples_with_truth(shards: Sequence[Shard]) -> list[tuple[Shard, int, pd.Series]]:
    """The sample with the most change of every patient that has a real follow-up, most change first."""
    best: dict[str, tuple[int, str, tuple[Shard, int, pd.Series]]] = {}
    for shard in shards:
        areas = shard.read("change_mask", slice(None)).sum(axis=(1, 2))
        for index, (_, manifest) in enumerate(shard.manifest.iterrows()):
            subject, area = str(manifest["baseline_subject"]), int(areas[index])
            if int(manifest["follow_up_row"]) < 0:
                continue
            # Among equals the lowest sample number, whatever the order of the shards.
            key = (-area, int(manifest["sample"]))
            if subject not in best or key < (-best[subject][0], int(best[subject][2][2]["sample"])):
                best[subject] = (area, subject, (shard, index, manifest))
    return [entry for _, _, entry in sorted(best.values(), key=lambda item: (-item[0], item[1]))]


def _show_regions(axis: Axes, labels: Image, aspect: float) -> None:
    colours = np.zeros((*labels.shape, 4))
    colours[labels > 0] = mpl.colors.to_rgba(DEEP_GREY, 0.5)
    for codes, colour in REGION_COLOURS.items():
        colours[np.isin(labels, codes)] = mpl.colors.to_rgba(colour, 0.5)
    axis.imshow(colours, aspect=aspect, origin="lower", interpolation="nearest")


def _checkerboard(first: Image, second: Image) -> Image:
    """Two slices (y, x) in alternate squares, eight to a side."""
    y, x = np.indices(first.shape)
    squares = (y * 8 // first.shape[0] + x * 8 // first.shape[1]) % 2 == 0
    return np.where(squares, first, second)


def _correlation(images: Image, brains: Image, baseline: int, follow_up: int) -> float:
    """Pearson's r of two scans inside the baseline's brain mask; -1 for a brain without contrast."""
    brain = np.asarray(brains[baseline], dtype=bool)
    first = np.asarray(images[baseline], dtype=np.float64)[brain]
    second = np.asarray(images[follow_up], dtype=np.float64)[brain]
    if len(first) < 2 or first.std() == 0 or second.std() == 0:
        return -1.0
    return float(np.corrcoef(first, second)[0, 1])
