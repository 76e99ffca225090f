"""Figures of the report, as PNG files that carry their own title and caption.

Slices are shown as they lie in a stack: y, to anterior, runs up, and x, to the patient's right, runs to the right, so
that right is right (neurological convention). What a colour says is also said by a marker, a place
or a word.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray
from scipy import ndimage

from msdiff.cohort.samples import Shard
from msdiff.cohort.stacks import Stack
from msdiff.errors import BadInput
from msdiff.report.colours import BLUE, DEEP_GREY, GREEN, ORANGE, PINK, REGION_COLOURS, SKY, VERMILION, YELLOW
from msdiff.report.words import write
from msdiff.tables.image_quality import NOISE_FLOOR, REAL, REFERENCES, REGIONS, generator_order
from msdiff.tables.layout import OURS, PAPER
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
    """A drawn figure, with what a reader must know to read it."""

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


def draw_follow_ups(stack: Stack, contrast: str, shards: Sequence[Shard], n_patients: int) -> Picture | None:
    """Generated follow-ups of held-out patients beside what they were made from and what really came.

    One row per patient (the sample with the most change), patients with most change first, `n_patients` at most; None
    where no sample has a real follow-up.
    """
    samples = _samples_with_truth(shards)
    if not samples:
        return None
    names = ["Baseline", "Change asked for", "Real follow-up", "Generated follow-up", f"Generated {MINUS} baseline"]
    names.append(f"Generated {MINUS} real")
    chosen = samples[:n_patients]
    images = stack.array(contrast)
    aspect = _aspect(stack)
    with mpl.rc_context(STYLE):
        figure, axes = _panels(len(chosen), names, aspect, images.shape[-2:])
        for row, (shard, index, manifest) in zip(axes, chosen, strict=True):
            number = int(manifest["slice"])
            baseline = np.asarray(images[int(manifest["baseline_row"]), number], dtype=np.float32)
            real = np.asarray(images[int(manifest["follow_up_row"]), number], dtype=np.float32)
            generated, mask = shard.follow_up[index], shard.change_mask[index]
            window = _window(mask)
            for axis, image in zip(row, (baseline, baseline, real, generated), strict=False):
                _show(axis, image, aspect, window)
            _outline(row[1], mask, VERMILION)
            for axis, image in zip(row[4:], (generated - baseline, generated - real), strict=True):
                _show_difference(axis, image, aspect)
                _outline(axis, mask, "black")
            row[0].set_ylabel(f"{manifest['baseline_subject']}\nslice {number}", fontsize=9)
        _sides(axes[0, 0])
        _difference_bar(figure, axes[:, 4:])
    caption = (
        f"One held-out patient per row ({len(chosen)} of {len(samples)}, those with most change first), the slice with "
        f"most change. {ORIENTATION} Insets enlarge the change; its outline is red on the baseline, black on the "
        f"differences. Intensities run from -1 to 1; differences are cut at ±{DIFFERENCE_LIMIT}."
    )
    return Picture(figure, "Generated follow-ups of held-out patients", caption)


def draw_preprocessing(stack: Stack, contrast: str, n_patients: int) -> Picture | None:
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
    aspect = _aspect(stack)
    chosen = worst[:n_patients]
    with mpl.rc_context(STYLE):
        figure, axes = _panels(len(chosen), names, aspect, images.shape[-2:])
        for row, (correlation, pair) in zip(axes, chosen, strict=True):
            brain = np.asarray(brains[pair.baseline_row], dtype=bool)
            middle = int(np.argmax(brain.sum(axis=(1, 2))))
            change = np.asarray(changes[pair.follow_up_row], dtype=bool)
            most = int(np.argmax(change.sum(axis=(1, 2)))) if change.any() else middle
            baseline = np.asarray(images[pair.baseline_row, middle], dtype=np.float32)
            follow_up = np.asarray(images[pair.follow_up_row, middle], dtype=np.float32)
            for axis, image in zip(row, (baseline, follow_up, _checkerboard(baseline, follow_up)), strict=False):
                _show(axis, image, aspect)
            _outline(row[0], brain[middle], YELLOW)
            _outline(row[1], brain[middle], YELLOW)
            _show(row[3], np.asarray(images[pair.follow_up_row, most], dtype=np.float32), aspect, _window(change[most]))
            _outline(row[3], change[most], VERMILION)
            _show(row[4], baseline, aspect)
            _show_regions(row[4], np.asarray(regions[pair.baseline_row, middle]), aspect)
            row[0].set_ylabel(f"{pair.subject}\nr = {correlation:.3f}", fontsize=9)
        _sides(axes[0, 0])
    caption = (
        f"One patient per row: the {len(chosen)} of {len(worst)} whose baseline and follow-up correlate least inside "
        f"the brain (r). {ORIENTATION} Yellow: the brain mask. Third panel: baseline and follow-up in alternate "
        "squares, so that a faulty registration breaks the edges. Fourth: the slice with most change, outlined. "
        "Regions: white matter light blue, cortex orange, CSF dark blue, other labels green."
    )
    return Picture(figure, "Preprocessing: the patients that fit worst", caption)


def draw_augmentation(table: pd.DataFrame) -> Picture:
    """Dice and lesion F1 against the ratio of synthetic to real slices, with intervals and the paper's points."""
    ratios = sorted(table["real_synthetic"].unique(), key=_synthetic_share)
    ours, paper = table[table["source"] == OURS], table[table["source"] == PAPER]
    groups = list(ours.groupby(["generator", "architecture"], sort=True))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 4), layout="constrained")
        axes = figure.subplots(1, 2, squeeze=False)[0]
        panels = {"dice": "Dice (mean over patients)", "lesion_f1": "Lesion F1"}
        for axis, (metric, title) in zip(axes, panels.items(), strict=True):
            for number, ((generator, architecture), group) in enumerate(groups):
                # Side by side, so that intervals do not hide each other.
                shift = 0.12 * (number - (len(groups) - 1) / 2)
                places = [ratios.index(ratio) + shift for ratio in group["real_synthetic"]]
                several = ours["generator"].nunique() > 1
                label = f"{write(architecture)}, {write(generator)}" if several else write(architecture)
                _points(axis, places, group, metric, number, label)
            places = [ratios.index(ratio) for ratio in paper["real_synthetic"]]
            label = "ViT (ResNet-50) in the paper, on another cohort"
            axis.plot(places, paper[metric], "*--", color=GREY, mfc="white", ms=10, lw=0.8, label=label, zorder=1)
            axis.set(title=title, xlabel="real : synthetic", ylim=(0, 1))
            axis.set_xticks(range(len(ratios)), ratios)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
    n = int(ours["n"].max()) if len(ours) else 0
    caption = (
        f"Points: this run, over {n} test patients; bars: interval by resampling patients. Stars: the paper's numbers "
        "on its own 30 test patients; they show where the method stood there, not a target for another cohort."
    )
    return Picture(figure, "Detection against the share of synthetic slices", caption)


def draw_image_quality(table: pd.DataFrame) -> Picture | None:
    """Error by region, lesion contrast and adherence, one row of points per generator; None for an empty table."""
    ours = table[table["source"] == OURS]
    if ours.empty:
        return None
    regions = [region for region in REGIONS if region in set(ours["region"])]
    generators = sorted(set(ours["generator"]) - set(REFERENCES), key=generator_order)
    floor, real = _reference(ours, NOISE_FLOOR, "mae"), _reference(ours, REAL, "adherence_dice")
    # Where tissue changed, two real scans differ by more than noise.
    panels = [
        ("mae", region, f"Mean absolute error, {region}", None if region == "lesion" else floor) for region in regions
    ]
    panels += [("lesion_contrast_ratio", "lesion", "Lesion contrast, generated / real", 1.0)]
    panels += [("adherence_dice", "lesion", "Adherence to the mask (Dice)", real)]
    with mpl.rc_context(STYLE | {"axes.grid.axis": "x"}):
        n_columns = 3
        n_rows = -(-len(panels) // n_columns)
        figure = Figure(figsize=(10, n_rows * (1.1 + 0.42 * len(generators))), layout="constrained")
        axes = figure.subplots(n_rows, n_columns, sharey=True, squeeze=False).ravel()
        for axis, (metric, region, title, target) in zip(axes, panels, strict=False):
            rows = ours[ours["region"] == region].set_index("generator").reindex(generators)
            places = np.arange(len(generators))[::-1]
            error = np.abs(rows[[f"{metric}_lo", f"{metric}_hi"]].to_numpy().T - rows[metric].to_numpy())
            axis.barh(places, rows[metric], height=0.55, color=SKY, xerr=error, error_kw={"ecolor": GREY, "capsize": 3})
            if target is not None:
                axis.axvline(target, color=VERMILION, ls="--", lw=1.4)
            axis.set_title(title, fontsize=9)
            axis.set_yticks(places, [write(name) for name in generators])
            axis.set_xlim(left=min(0, axis.get_xlim()[0]))
        for axis in axes[len(panels) :]:
            axis.remove()
    caption = (
        f"Bars: mean over {int(ours['n'].max())} held-out patients, of intensities in [0, 1]; lines: interval by "
        "resampling patients. Dashed: the noise floor (two real scans, where nothing changed), equal contrast, and the "
        "adherence of the real follow-up, as far as this run has them. A generator that only copied the baseline would "
        "win outside the lesions and fail inside them: read both."
    )
    return Picture(figure, "Error of generated follow-ups by region", caption)


def draw_histories(histories: Mapping[str, pd.DataFrame]) -> Picture | None:
    """Loss curves of all trainings, one panel per training or, for names with slashes, per part before the first."""
    groups: dict[str, dict[str, pd.DataFrame]] = {}
    for name, history in histories.items():
        group, _, curve = name.partition("/")
        groups.setdefault(group, {})[curve] = history
    if not groups:
        return None
    with mpl.rc_context(STYLE):
        n_columns = min(3, len(groups))
        n_rows = -(-len(groups) // n_columns)
        figure = Figure(figsize=(max(4.2, 3.4 * n_columns), 2.9 * n_rows), layout="constrained")
        axes = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
        for axis, (group, curves) in zip(axes, groups.items(), strict=False):
            _curves(axis, curves)
            axis.set(title=write(group), xlabel="step", ylabel="training loss")
        for axis in axes[len(groups) :]:
            axis.remove()
    caption = (
        "Mean training loss per interval of steps. Losses of different networks are different quantities and cannot be "
        "compared with each other; a curve that still falls says that the training was short."
    )
    return Picture(figure, "Training losses", caption)


def _curves(axis: Axes, curves: Mapping[str, pd.DataFrame]) -> None:
    """Loss curves in one panel; curves that share the part before the next slash share a colour."""
    kinds = list(dict.fromkeys(curve.partition("/")[0] for curve in curves))
    labelled: set[str] = set()
    for curve, history in curves.items():
        kind = curve.partition("/")[0]
        number = kinds.index(kind)
        label = None if kind in labelled or not kind else kind.replace("-", ":")
        labelled.add(kind)
        axis.plot(history["step"], history["loss"], color=COLOURS[number % len(COLOURS)], lw=1.2, label=label)
    values = np.concatenate([history["loss"].to_numpy(dtype=float) for history in curves.values()])
    values = values[np.isfinite(values)]
    if len(values) and values.min() > 0 and values.max() > 20 * values.min():
        axis.set_yscale("log")
    if len(kinds) > 1:
        axis.legend(fontsize=8, title="real : synthetic", title_fontsize=8)


def _reference(ours: pd.DataFrame, name: str, metric: str) -> float | None:
    """The first value of a metric that a reference has; None where it has none."""
    values = ours.loc[ours["generator"] == name, metric].dropna()
    return float(values.iloc[0]) if len(values) else None


def _samples_with_truth(shards: Sequence[Shard]) -> list[tuple[Shard, int, pd.Series]]:
    """The sample with the most change of every patient that has a real follow-up, most change first."""
    best: dict[str, tuple[int, str, tuple[Shard, int, pd.Series]]] = {}
    for shard in shards:
        areas = shard.change_mask.sum(axis=(1, 2))
        for index, (_, manifest) in enumerate(shard.manifest.iterrows()):
            subject, area = str(manifest["baseline_subject"]), int(areas[index])
            if int(manifest["follow_up_row"]) < 0:
                continue
            # Among equals the lowest sample number, whatever the order of the shards.
            key = (-area, int(manifest["sample"]))
            if subject not in best or key < (-best[subject][0], int(best[subject][2][2]["sample"])):
                best[subject] = (area, subject, (shard, index, manifest))
    return [entry for _, _, entry in sorted(best.values(), key=lambda item: (-item[0], item[1]))]


def _panels(n_rows: int, names: Sequence[str], aspect: float, shape: tuple[int, ...]) -> tuple[Figure, Any]:
    """A figure of image panels, named along the top."""
    # A difference's colour bar stands beside the panels.
    width = 10.4 / len(names)
    height = width * shape[0] * aspect / shape[1]
    layout = ConstrainedLayoutEngine(w_pad=0.01, h_pad=0.01, wspace=0.01, hspace=0.01)
    figure = Figure(figsize=(11, n_rows * height + 0.35), layout=layout)
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


def _show(axis: Axes, image: Image, aspect: float, window: tuple[slice, slice] | None = None) -> None:
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


def _show_difference(axis: Axes, image: Image, aspect: float) -> None:
    axis.imshow(
        image, aspect=aspect, cmap="RdBu_r", vmin=-DIFFERENCE_LIMIT, vmax=DIFFERENCE_LIMIT, origin="lower",
        interpolation="nearest",
    )  # fmt: skip


def _show_regions(axis: Axes, labels: Image, aspect: float) -> None:
    colours = np.zeros((*labels.shape, 4))
    colours[labels > 0] = mpl.colors.to_rgba(DEEP_GREY, 0.5)
    for codes, colour in REGION_COLOURS.items():
        colours[np.isin(labels, codes)] = mpl.colors.to_rgba(colour, 0.5)
    axis.imshow(colours, aspect=aspect, origin="lower", interpolation="nearest")


def _outline(axis: Axes, mask: Image, colour: str) -> None:
    """The border of a mask (y, x) along the edges of its voxels."""
    if not mask.any():
        return
    # Enlarged, so that the line runs around a voxel and not through its centre.
    factor = 5
    fine = np.kron(np.asarray(mask, dtype=float), np.ones((factor, factor)))
    y, x = (np.arange(size) / factor - 0.5 + 0.5 / factor for size in fine.shape)
    axis.contour(x, y, fine, levels=[0.5], colors=[colour], linewidths=1.0)


def _window(mask: Image) -> tuple[slice, slice] | None:
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


def _points(axis: Axes, places: list[float], group: pd.DataFrame, metric: str, number: int, label: str) -> None:
    values = group[metric].to_numpy()
    error = np.abs(group[[f"{metric}_lo", f"{metric}_hi"]].to_numpy().T - values)
    axis.errorbar(
        places, values, yerr=error, color=COLOURS[number % len(COLOURS)], marker=MARKERS[number % len(MARKERS)],
        ls="-", lw=1.2, elinewidth=1, capsize=3, label=label,
    )  # fmt: skip


def _sides(axis: Axes) -> None:
    """Mark the patient's left and right."""
    for place, text, side in ((0.03, "L", "left"), (0.97, "R", "right")):
        axis.text(place, 0.5, text, transform=axis.transAxes, color="white", ha=side, va="center", fontsize=8)


def _difference_bar(figure: Figure, axes: Any) -> None:
    norm = mpl.colors.Normalize(-DIFFERENCE_LIMIT, DIFFERENCE_LIMIT)
    bar = figure.colorbar(
        mpl.cm.ScalarMappable(norm, "RdBu_r"), ax=axes.ravel().tolist(), location="right", fraction=0.03, aspect=30
    )
    bar.ax.tick_params(labelsize=8)


def _aspect(stack: Stack) -> float:
    """Height over width of a pixel."""
    spacing = stack.grid.spacing_mm
    return float(spacing[1] / spacing[0])


def _synthetic_share(ratio: str) -> float:
    real, synthetic = (float(part) for part in ratio.split(":"))
    return synthetic / real if real else np.inf
