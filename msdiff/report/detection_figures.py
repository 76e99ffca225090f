"""Figures of detection: Dice and lesion F1 against the ratio of real to synthetic slices."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from msdiff.report.pictures import GREY, STYLE, Picture, points
from msdiff.report.words import write
from msdiff.tables.layout import OURS, PAPER


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
                points(axis, places, group, metric, number, label)
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


def _synthetic_share(ratio: str) -> float:
    real, synthetic = (float(part) for part in ratio.split(":"))
    return synthetic / real if real else np.inf
