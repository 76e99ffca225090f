"""What all figures of the report share: how they look, what they carry, and how slices are shown.

A figure is a PNG file that carries its own title and caption. Slices are shown as they lie in a stack: y, to anterior,
runs up, and x, to the patient's right, runs to the right, so that right is right (neurological convention). What a
colour says is also said by a marker, a place or a word.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patheffects import Normal, Stroke
from numpy.typing import NDArray
from scipy import ndimage

from msdiff.errors import BadInput
from msdiff.images import Grid
from msdiff.report.colours import BLUE, GREEN, ORANGE, PINK, SKY, VERMILION
from msdiff.stack.reading import Stack
from msdiff.writing import whole_file

COLOURS = [BLUE, VERMILION, GREEN, PINK, ORANGE, SKY]
MARKERS = ["o", "s", "^", "D", "v", "P"]
GREY = "#555555"
MINUS = "\N{MINUS SIGN}"
# Typed loosely: the library's own type lists all its keys.
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
}
DPI = 150
ORIENTATION = "Axial slices, anterior up, the patient's right on the right (neurological convention)."
# Of the range [-1, 1]: a difference beyond it is shown in the end colour.
DIFFERENCE_LIMIT = 0.4
# Side of an inset, as a share of its panel.
INSET = 0.36
# Arrays of a stack that are no images.
NO_CONTRASTS = {"brain_mask", "lesion_mask", "change_mask", "enhancing_mask", "regions"}

Image = NDArray[Any]


class Picture(NamedTuple):
    """A plotted figure, with what a reader must know to read it."""

    figure: Figure
    title: str
    caption: str


def save_picture(picture: Picture, path: str | Path) -> None:
    """Write a figure as PNG; title and caption stand in its text fields, and nothing that changes from run to run."""
    metadata = {"Title": picture.title, "Description": picture.caption, "Software": "msdiff"}
    with whole_file(path) as temporary:
        picture.figure.savefig(temporary, format="png", dpi=DPI, metadata=metadata)


def shown_contrast(stack: Stack) -> str:
    """FLAIR, in which lesions are drawn and seen; in a stack without it the first contrast by name."""
    names = sorted({file.stem for file in stack.folder.glob("*.npy")} - NO_CONTRASTS)
    if not names:
        raise BadInput(f"{stack.folder}: expected an array of a contrast, got masks only; stack the scans again")
    return "flair" if "flair" in names else names[0]


def panels(
    n_rows: int, names: Sequence[str], aspect: float, shape: tuple[int, ...], most: float = 11
) -> tuple[Figure, Any]:
    """A figure of image panels, named along the top, 11 inches wide or less where a panel is at `most` so wide."""
    # A difference's colour bar stands beside the panels.
    width = min(10.4 / len(names), most)
    height = width * shape[0] * aspect / shape[1]
    layout = ConstrainedLayoutEngine(w_pad=0.01, h_pad=0.01, wspace=0.01, hspace=0.01)
    figure = Figure(figsize=(len(names) * width + 0.6, n_rows * height + 0.35), layout=layout)
    axes = figure.subplots(n_rows, len(names), squeeze=False)
    for axis in axes.ravel():
        axis.set(xticks=[], yticks=[])
        axis.grid(visible=False)
        axis.set_facecolor("black")
        for spine in axis.spines.values():
            spine.set_visible(False)
    for axis, name in zip(axes[0], names, strict=True):
        axis.set_title(name, fontsize=9)
    return figure, axes


def show(axis: Axes, image: Image, aspect: float, window: tuple[slice, slice] | None = None) -> None:
    """A slice (y, x) in [-1, 1] in grey, with an inset that enlarges a window of it, in the corner farthest from it."""
    options: dict[str, Any] = {"cmap": "gray", "vmin": -1, "vmax": 1, "origin": "lower", "interpolation": "nearest"}
    axis.imshow(image, aspect=aspect, **options)
    if window is None:
        return
    middles = [(part.start + part.stop) / 2 / size for part, size in zip(window, image.shape, strict=True)]
    bottom, left = (0.0 if middle > 0.5 else 1 - INSET for middle in middles)
    inset = axis.inset_axes((left, bottom, INSET, INSET))
    inset.imshow(image[window], aspect="auto", **options)
    inset.set(xticks=[], yticks=[])
    inset.grid(visible=False)
    for spine in inset.spines.values():
        spine.set(visible=True, color="white", linewidth=0.8)


def show_difference(axis: Axes, image: Image, aspect: float) -> None:
    """A difference of two slices (y, x), red where it is positive, cut at DIFFERENCE_LIMIT."""
    axis.imshow(
        image, aspect=aspect, cmap="RdBu_r", vmin=-DIFFERENCE_LIMIT, vmax=DIFFERENCE_LIMIT, origin="lower",
        interpolation="nearest",
    )  # fmt: skip


def outline(axis: Axes, mask: Image, colour: str, dotted: bool = False, rim: str = "") -> None:
    """The border of a mask (y, x) along the edges of its voxels; with a rim it shows on any ground."""
    if not mask.any():
        return
    # Enlarged, so that the line runs around a voxel and not through its centre.
    factor = 5
    fine = np.kron(np.asarray(mask, dtype=float), np.ones((factor, factor)))
    y, x = (np.arange(size) / factor - 0.5 + 0.5 / factor for size in fine.shape)
    lines = axis.contour(x, y, fine, levels=[0.5], colors=[colour], linewidths=1.0, linestyles=":" if dotted else "-")
    if rim:
        lines.set_path_effects([Stroke(linewidth=2.0, foreground=rim), Normal()])


def window_of(mask: Image) -> tuple[slice, slice] | None:
    """A square window of a quarter of the slice around the largest part of a mask; None without change."""
    if not mask.any():
        return None
    labels, _ = ndimage.label(mask)
    largest = labels == np.bincount(labels[labels > 0]).argmax()
    y, x = (round(float(places.mean())) for places in np.nonzero(largest))
    sizes = [max(8, size // 4) for size in mask.shape]
    starts = [
        min(max(centre - size // 2, 0), length - size)
        for centre, size, length in zip((y, x), sizes, mask.shape, strict=True)
    ]
    return slice(starts[0], starts[0] + sizes[0]), slice(starts[1], starts[1] + sizes[1])


def mark_sides(axis: Axes, height: float = 0.5) -> None:
    """Mark the patient's left and right, so high in the panel (0 to 1)."""
    for place, text, side in ((0.03, "L", "left"), (0.97, "R", "right")):
        axis.text(place, height, text, transform=axis.transAxes, color="white", ha=side, va="center", fontsize=8)


def difference_bar(figure: Figure, axes: Any) -> None:
    """The colour bar of the differences shown in axes (rows, columns)."""
    norm = mpl.colors.Normalize(-DIFFERENCE_LIMIT, DIFFERENCE_LIMIT)
    bar = figure.colorbar(
        mpl.cm.ScalarMappable(norm, "RdBu_r"), ax=axes.ravel().tolist(), location="right", fraction=0.03, aspect=30
    )
    bar.ax.tick_params(labelsize=8)


def aspect_of(grid: Grid) -> float:
    """Height over width of a pixel of an axial slice."""
    spacing = grid.spacing_mm
    return float(spacing[1] / spacing[0])


def points(axis: Axes, places: list[float], group: pd.DataFrame, metric: str, number: int, label: str | None) -> None:
    """A curve of estimates with their intervals, at places along x; `number` picks colour and marker."""
    values = group[metric].to_numpy()
    error = np.abs(group[[f"{metric}_lo", f"{metric}_hi"]].to_numpy().T - values)
    axis.errorbar(
        places, values, yerr=error, color=COLOURS[number % len(COLOURS)], marker=MARKERS[number % len(MARKERS)],
        ls="-", lw=1.2, elinewidth=1, capsize=3, label=label,
    )  # fmt: skip
