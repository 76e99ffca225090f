"""Loss curves of all trainings."""

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from msdiff.report.pictures import COLOURS, STYLE, Picture
from msdiff.report.words import write


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
