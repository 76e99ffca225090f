"""Figure of the ablation: what leaving out one component changes."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from msdiff.report.colours import BLUE, VERMILION
from msdiff.report.pictures import GREY, STYLE, Picture
from msdiff.report.words import write
from msdiff.tables.ablation import COMPLETE, METRICS
from msdiff.tables.layout import OURS

TITLES = {
    "mae_brain": "Error in the brain",
    "mae_lesion": "Error in lesions",
    "lesion_contrast_ratio": "Lesion contrast,\ngenerated / real",
    "adherence_dice": "Adherence to\nthe mask (Dice)",
    "change_outside": "Change outside\nthe mask",
}


def plot_ablation(table: pd.DataFrame) -> Picture | None:
    """Differences to the complete generator with their intervals, one panel per metric; None without a variant."""
    ours = table[(table["source"] == OURS) & (table["variant"] != COMPLETE)].set_index("variant")
    if ours.empty:
        return None
    places = np.arange(len(ours))[::-1]
    with mpl.rc_context(STYLE | {"axes.grid.axis": "x"}):
        figure = Figure(figsize=(10, 1.3 + 0.45 * len(ours)), layout="constrained")
        axes = figure.subplots(1, len(METRICS), sharey=True, squeeze=False).ravel()
        for axis, metric in zip(axes, METRICS, strict=True):
            column = f"{metric}_difference"
            error = np.abs(ours[[f"{column}_lo", f"{column}_hi"]].to_numpy().T - ours[column].to_numpy())
            axis.axvline(0, color=VERMILION, ls="--", lw=1.4)
            axis.errorbar(ours[column], places, xerr=error, fmt="o", color=BLUE, ecolor=GREY, capsize=3)
            axis.set_title(TITLES[metric], fontsize=9)
            axis.set_yticks(places, [write(name) for name in ours.index])
            axis.set_ylim(-0.6, len(ours) - 0.4)
            axis.locator_params(axis="x", nbins=3)
            axis.tick_params(labelsize=8)
    caption = (
        f"Points: variant less complete generator, mean over {int(ours['n'].max())} held-out patients; lines: paired "
        "interval by resampling patients. Dashed: no difference. More error is worse and more adherence is better; the "
        "contrast should come nearer to 1 and the change outside nearer to that of the real follow-up, so there the "
        "sign alone says nothing. The interval tells nothing of the spread between trainings."
    )
    return Picture(figure, "How much each component of the generator contributes", caption)
