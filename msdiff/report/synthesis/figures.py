"""Figures of slices: generated follow-ups beside real ones, and the preprocessing of the patients that fit worst."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd

from msdiff.report.colours import VERMILION
from msdiff.report.pictures import (
    DIFFERENCE_LIMIT,
    MINUS,
    ORIENTATION,
    STYLE,
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
