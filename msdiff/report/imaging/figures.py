"""Figure of the preprocessing, of the patients that fit worst."""

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes

from msdiff.report.colours import DEEP_GREY, REGION_COLOURS, VERMILION, YELLOW
from msdiff.report.pictures import (
    ORIENTATION,
    STYLE,
    Image,
    Picture,
    aspect_of,
    mark_sides,
    outline,
    panels,
    show,
    window_of,
)
from msdiff.stack.reading import Stack


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
