"""Figures of forecasts: sampled masks beside the true outcome, heat maps over many draws, one patient under every arm.

As figures 2 and 3 of Favero et al., arXiv 2508.07006 (2025). Which patients are shown follows from their true outcome
alone, never from how well the forecast fits it.
"""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from scipy import ndimage

from msdiff.forecasting.slabs import Slabs
from msdiff.reader_study.pictures import box_of
from msdiff.report.colours import SKY, VERMILION
from msdiff.report.forecasting.reading import Forecasts, lesion_counts, own_arm, sampled_masks, shown_patients
from msdiff.report.phrases import count, number, percent
from msdiff.report.pictures import (
    MINUS,
    ORIENTATION,
    STYLE,
    Image,
    Picture,
    aspect_of,
    mark_sides,
    outline,
    panels,
    show,
)
from msdiff.report.words import write

Mask = NDArray[np.bool_]
Window = tuple[slice, slice]

# Forecasts of one patient side by side, as in the paper's figure 2; of a patient under all arms below each other.
SIDE_BY_SIDE, BELOW = 3, 2
# Voxels around the brain that stay in the picture.
MARGIN = 2
# Inches of a panel; a second line below it takes some more.
WIDEST = 2.2
HEAT = "plasma"
# Side of the enlarged part of a heat map, as a share of the picture.
ENLARGED = 0.4
CHOSEN = (
    "Patients are chosen by their true outcome alone: of each arm, least effective first, the one with the median "
    "number of lesions among the active; then one without a new lesion."
)
GREY = "Every brain's median is mid-grey."
ELSEWHERE = "dotted, what lies on the slab's other slices, projected"


def plot_forecasts(slabs: Slabs, forecasts: Forecasts, n_patients: int) -> Picture | None:
    """Forecasts of single patients, beside the scan they were made from and the true outcome; None without patients."""
    chosen = shown_patients(forecasts, slabs.arms, n_patients)
    if chosen.empty:
        return None
    _, last, future = slabs.sessions
    sampled = [sampled_masks(forecasts, row.subject, row.arm) for row in chosen.itertuples()]
    n_draws = min(len(masks) for masks in sampled)
    shown = list(range(min(SIDE_BY_SIDE, n_draws)))
    names = [f"{write(_ground(slabs))}, {last}", f"True outcome, {future}"] + [
        f"Forecast {draw + 1} of {n_draws}" for draw in shown
    ]
    window = _brain_window(slabs, chosen["subject"])
    with mpl.rc_context(STYLE):
        figure, axes = _panels(len(chosen), names, slabs, window)
        for row, masks, patient in zip(axes, sampled, chosen.itertuples(), strict=True):
            place = _place(slabs, patient.subject)
            truth = _mask(slabs, "net2", place)
            level = _level(truth if truth.any() else masks.mean(axis=0), slabs, place)
            flair = _image(slabs, last, place)[level]
            counts = lesion_counts(forecasts, patient.subject, patient.arm)
            _show(row[0], flair, slabs, window)
            for axis, mask, colour in zip(row[1:], [truth, *masks[shown]], [SKY, *([VERMILION] * 3)], strict=False):
                _show(axis, flair, slabs, window)
                _mark(axis, mask, level, colour, window)
            row[0].set_ylabel(_who(patient, slabs, level), fontsize=8)
            row[1].set_xlabel(count(patient.true_count, "new lesion"), fontsize=8)
            for axis, draw in zip(row[2:], shown, strict=True):
                axis.set_xlabel(count(counts[draw], "lesion"), fontsize=8)
        mark_sides(axes[0, 0], 0.94)
    caption = (
        f"New and enlarging lesions from {last} to {future} over the {write(_ground(slabs))} image of {last}. One test "
        f"patient per row ({len(chosen)} of {len(own_arm(forecasts))}), on the slice with most of the true outcome or, "
        f"for a patient without a new lesion, of the forecasts. {ORIENTATION} {GREY} Blue: the true outcome. Orange: "
        f"the first {len(shown)} of {n_draws} forecasts under the patient's own treatment, as they were sampled; "
        f"{ELSEWHERE}. Counts are of the whole slab, those of forecasts after the opening. {CHOSEN}"
    )
    return Picture(figure, "Forecasts of new lesions beside the true outcome", caption)


def plot_heat_maps(slabs: Slabs, forecasts: Forecasts, n_patients: int) -> Picture | None:
    """How often each voxel was forecast, with the true outcome outlined; None where no probabilities were kept."""
    if forecasts.probability is None:
        return None
    chosen = shown_patients(forecasts, slabs.arms, n_patients)
    if chosen.empty:
        return None
    _, last, future = slabs.sessions
    n_draws = int(chosen["draws"].min())
    maps = [np.asarray(forecasts.probability[index], dtype=np.float32) for index in chosen.index]
    top = _top([heat.max() for heat in maps])
    names = [f"True outcome, {future}", "Forecast, same slice", "Enlarged", "Forecast, all slices"]
    window = _brain_window(slabs, chosen["subject"])
    with mpl.rc_context(STYLE):
        figure, axes = _panels(len(chosen), names, slabs, window)
        for row, heat, patient in zip(axes, maps, chosen.itertuples(), strict=True):
            place = _place(slabs, patient.subject)
            truth = _mask(slabs, "net2", place)
            level = _level(truth if truth.any() else heat, slabs, place)
            flair = _image(slabs, last, place)[level]
            near = _enlarged(truth[level] if truth[level].any() else heat[level], window)
            for axis, part in zip(row, (window, window, near, window), strict=True):
                _show(axis, flair, slabs, part)
            _mark(row[0], truth, level, SKY, window)
            _heat(row[1], heat[level], top, slabs, window)
            _heat(row[2], heat[level], top, slabs, near)
            _heat(row[3], heat.max(axis=0), top, slabs, window)
            for axis, mask, part in zip(
                row[1:], (truth[level], truth[level], truth.any(axis=0)), (window, near, window), strict=True
            ):
                outline(axis, mask[part], "white", rim="black")
            counts = lesion_counts(forecasts, patient.subject, patient.arm)
            row[0].set_ylabel(_who(patient, slabs, level), fontsize=8)
            row[0].set_xlabel(count(patient.true_count, "new lesion"), fontsize=8)
            row[1].set_xlabel(f"active in {int((counts > 0).sum())} of {len(counts)}", fontsize=8)
            row[3].set_xlabel(f"mean count {number(counts.mean())}", fontsize=8)
        mark_sides(axes[0, 0], 0.94)
        _heat_bar(figure, axes, top, n_draws)
    caption = (
        f"Share of {n_draws} forecasts with a new lesion at a voxel, over the {write(_ground(slabs))} image of {last}. "
        f"One test patient per row ({len(chosen)} of {len(own_arm(forecasts))}), on the slice with most of the true "
        "outcome or, for a patient without a new lesion, of the forecasts; at the right the highest share on any "
        f"slice. {ORIENTATION} {GREY} Outlined: the true outcome at {future}; at the right on all slices together. "
        "Where no forecast put a lesion the image shows, and through low shares too. Counts are of the whole slab, "
        f"those of forecasts after the opening. {CHOSEN}"
    )
    return Picture(figure, f"Where {n_draws} forecasts put new lesions", caption)


def plot_one_patient(slabs: Slabs, forecasts: Forecasts) -> Picture | None:
    """One patient's future under every arm, least to most effective, from the same noise; None where there is none."""
    chosen = shown_patients(forecasts, slabs.arms, 1)
    patients = forecasts.patients
    if chosen.empty:
        return None
    patient = next(chosen.itertuples())
    arms = [arm for arm in slabs.arms if arm in set(patients.loc[patients["subject"] == patient.subject, "arm"])]
    first, last, future = slabs.sessions
    place = _place(slabs, patient.subject)
    truth = _mask(slabs, "net2", place)
    masks = {arm: sampled_masks(forecasts, patient.subject, arm) for arm in arms}
    maps = {arm: draws.mean(axis=0) for arm, draws in masks.items()}
    n_draws = min(len(draws) for draws in masks.values())
    n_below = min(BELOW, n_draws)
    top = _top([heat.max() for heat in maps.values()])
    together = np.sum(list(maps.values()), axis=0)
    level = _level(truth if truth.any() else together, slabs, place)
    flair = _image(slabs, first, place)[level]
    window = _brain_window(slabs, [patient.subject])
    names = [f"True outcome, {future}", *(_arm(arm) for arm in arms)]
    with mpl.rc_context(STYLE):
        figure, axes = _panels(n_below + 1, names, slabs, window)
        for axis in axes.ravel():
            _show(axis, flair, slabs, window)
        _mark(axes[0, 0], truth, level, SKY, window)
        axes[0, 0].set_xlabel(f"{count(patient.true_count, 'lesion')}\n({_arm(patient.own_arm)})", fontsize=8)
        for axis in axes[1:, 0]:
            axis.set_visible(False)
        for column, arm in zip(axes.T[1:], arms, strict=True):
            counts = lesion_counts(forecasts, patient.subject, arm)
            for draw, axis in enumerate(column[:-1]):
                _mark(axis, masks[arm][draw], level, VERMILION, window)
                axis.set_xlabel(count(counts[draw], "lesion"), fontsize=8)
            _heat(column[-1], maps[arm].max(axis=0), top, slabs, window)
            if arm == patient.own_arm:
                outline(column[-1], np.any(truth, axis=0)[window], "white", rim="black")
            share = percent(float((counts > 0).mean()))
            column[-1].set_xlabel(f"mean count {number(counts.mean())}\nactive in {share}", fontsize=8)
        for draw, axis in enumerate(axes[:-1, 1]):
            axis.set_ylabel(f"forecast {draw + 1}", fontsize=8)
        axes[-1, 1].set_ylabel(f"all {n_draws}, all slices", fontsize=8)
        mark_sides(axes[0, 0], 0.94)
        _heat_bar(figure, axes, top, n_draws)
    caption = (
        f"Forecasts of new and enlarging lesions from {last} to {future} for {patient.subject} of the arm "
        f"{_arm(patient.own_arm)}, made from the scan before treatment ({first}) alone, which is shown, under every "
        f"arm, least effective first, on the slice with most of the true outcome ({_height(slabs, level)}). "
        f"{ORIENTATION} A row of orange masks starts from the same noise under every arm, so that only the treatment "
        f"differs; {ELSEWHERE}. Below: the share of all {n_draws} forecasts with a lesion at a voxel, the highest of "
        "any slice, their mean number of lesions in the slab after the opening, and how many have one. Under the "
        f"patient's own arm the true outcome is outlined ({count(patient.true_count, 'lesion')} in the slab); under "
        "the others nobody can know it. The patient is chosen by the true outcome alone: of the least effective arm "
        "the one with the median number of lesions among the active."
    )
    return Picture(figure, "One patient under every treatment", caption)


def _panels(n_rows: int, names: Sequence[str], slabs: Slabs, window: Window) -> tuple[Figure, NDArray[np.object_]]:
    height, width = (part.stop - part.start for part in window)
    return panels(n_rows, names, aspect_of(slabs.grid), (height, width), WIDEST)


def _place(slabs: Slabs, subject: str) -> int:
    """The row of a patient in the arrays."""
    return int(slabs.patients.loc[slabs.patients["subject"] == subject, "row"].iloc[0])


def _ground(slabs: Slabs) -> str:
    """The image that masks are shown over: FLAIR, or what the slabs hold first."""
    images = [channel.partition("@")[0] for channel in slabs.channels]
    return "flair" if "flair" in images else images[0]


def _image(slabs: Slabs, session: str, place: int) -> Image:
    """That image (z, y, x) of a session, from black (-1) with the median of the brain in mid-grey (0)."""
    channel = slabs.channels.index(f"{_ground(slabs)}@{session}")
    image = np.asarray(slabs.array("channels")[place, channel], dtype=np.float32)
    # Slabs run from the lowest to the highest value of each patient, so that a brain without lesions would be white.
    median = float(np.median(image[_mask(slabs, "brain_mask", place)]))
    return (image + 1) / max(median + 1, 0.1) - 1


def _mask(slabs: Slabs, name: str, place: int) -> Mask:
    return np.asarray(slabs.array(name)[place], dtype=np.bool_)


def _brain_window(slabs: Slabs, subjects: Sequence[str] | pd.Series) -> Window:
    """The part of a slice (y, x) that holds the brains of some patients whole, with a margin."""
    brains = [np.any(_mask(slabs, "brain_mask", _place(slabs, subject)), axis=0) for subject in subjects]
    return box_of(np.stack(brains), MARGIN)


def _level(volume: NDArray[np.generic], slabs: Slabs, place: int) -> int:
    """The slice with most of a volume (z, y, x) in it; of an empty one the slice with most brain."""
    amounts = np.asarray(volume, dtype=np.float64).sum(axis=(1, 2))
    if not amounts.any():
        amounts = _mask(slabs, "brain_mask", place).sum(axis=(1, 2))
    return int(np.argmax(amounts))


def _enlarged(values: NDArray[np.generic], window: Window) -> Window:
    """A part of the window, of the same shape, around the largest piece of what is highest in a slice (y, x)."""
    pieces, n = ndimage.label((values == values.max()) & (values != 0))
    middle = [(part.start + part.stop - 1) / 2 for part in window]
    if n:
        middle = np.argwhere(pieces == np.bincount(pieces[pieces > 0]).argmax()).mean(axis=0).tolist()
    parts = []
    for centre, part in zip(middle, window, strict=True):
        length = part.stop - part.start
        size = max(8, round(ENLARGED * length))
        start = int(np.clip(round(centre - size / 2), part.start, max(part.start, part.stop - size)))
        parts.append(slice(start, min(start + size, part.stop)))
    return parts[0], parts[1]


def _show(axis: Axes, image: Image, slabs: Slabs, window: Window) -> None:
    show(axis, image[window], aspect_of(slabs.grid))


def _mark(axis: Axes, mask: Mask, level: int, colour: str, window: Window) -> None:
    """A mask (z, y, x): what lies on the slice filled and outlined, what lies on others dotted."""
    here, anywhere = mask[level][window], np.asarray(mask.any(axis=0))[window]
    outline(axis, anywhere & ~here, colour, dotted=True, rim="black")
    fill = np.zeros((*here.shape, 4))
    fill[here] = mpl.colors.to_rgba(colour, 0.7)
    axis.imshow(fill, aspect=axis.get_aspect(), origin="lower", interpolation="nearest")
    outline(axis, here, colour, rim="black")


def _heat(axis: Axes, heat: Image, top: float, slabs: Slabs, window: Window) -> None:
    """Shares of draws (y, x) in colour; nothing where there is none."""
    shown = heat[window]
    # What is hardly ever forecast hides little of the image.
    alpha = np.where(shown > 0, np.clip(1.5 * shown / top, 0.4, 0.9), 0)
    axis.imshow(
        shown, cmap=HEAT, vmin=0, vmax=top, alpha=alpha, aspect=aspect_of(slabs.grid), origin="lower",
        interpolation="nearest",
    )  # fmt: skip


def _heat_bar(figure: Figure, axes: NDArray[np.object_], top: float, n_draws: int) -> None:
    bar = figure.colorbar(
        mpl.cm.ScalarMappable(mpl.colors.Normalize(0, top), HEAT), ax=axes.ravel().tolist(), location="right",
        fraction=0.03, aspect=30, ticks=MaxNLocator(5),
    )  # fmt: skip
    bar.set_label(f"probability (share of {n_draws} forecasts)", fontsize=8)
    bar.ax.tick_params(labelsize=8)


def _top(highest: Sequence[float]) -> float:
    """Where the colours end: the highest share, rounded up to a twentieth."""
    return max(0.05, float(np.ceil(round(20 * float(max(highest)), 6)) / 20))


def _who(patient: Any, slabs: Slabs, level: int) -> str:
    return f"{_arm(patient.arm)}\n{patient.subject}, {_height(slabs, level)}"


def _height(slabs: Slabs, level: int) -> str:
    """Where a slice lies in the template's space."""
    return f"z = {slabs.grid.affine[2, 2] * level + slabs.grid.affine[2, 3]:.0f} mm".replace("-", MINUS)


def _arm(name: str) -> str:
    return name.replace("_", " ")
