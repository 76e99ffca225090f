"""Figures of tables and trainings: image quality by region, and loss curves."""

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from msdiff.report.colours import SKY, VERMILION
from msdiff.report.pictures import COLOURS, GREY, STYLE, Picture
from msdiff.report.words import write
from msdiff.tables.image_quality import NOISE_FLOOR, REAL, REFERENCES, REGIONS, generator_order
from msdiff.tables.layout import OURS


def plot_image_quality(table: pd.DataFrame) -> Picture | None:
    """Error by region, lesion contrast and adherence, one row of points per generator; None for an empty table."""
    ours = table[table["source"] == OURS]
    if ours.empty:
        return None
    regions = [region for region in REGIONS if region in set(ours["region"])]
    generators = sorted(set(ours["generator"]) - set(REFERENCES), key=generator_order)
    floor, real = reference(ours, NOISE_FLOOR, "mae"), reference(ours, REAL, "adherence_dice")
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


def plot_histories(histories: Mapping[str, pd.DataFrame]) -> Picture | None:
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


def reference(ours: pd.DataFrame, name: str, metric: str) -> float | None:
    """The first value of a metric that a reference has; None where it has none."""
    values = ours.loc[ours["generator"] == name, metric].dropna()
    return float(values.iloc[0]) if len(values) else None
