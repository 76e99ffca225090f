"""Figures of detection: by the ratio of real to synthetic slices, and by the size of the lesions."""

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from msdiff.report.pictures import GREY, STYLE, Picture, points
from msdiff.report.words import write
from msdiff.tables.detector_runs import synthetic_share
from msdiff.tables.layout import OURS, PAPER

# Between curves that share their places along x, so that intervals do not hide each other.
STEP = 0.12


def plot_augmentation(table: pd.DataFrame) -> Picture:
    """Dice and lesion F1 against the ratio of synthetic to real slices, with intervals and the paper's points."""
    ratios = sorted(table["real_synthetic"].unique(), key=synthetic_share)
    ours, paper = table[table["source"] == OURS], table[table["source"] == PAPER]
    groups = list(ours.groupby(["generator", "architecture"], sort=True))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 4), layout="constrained")
        axes = figure.subplots(1, 2, squeeze=False)[0]
        panels = {"dice": "Dice (mean over patients)", "lesion_f1": "Lesion F1"}
        for axis, (metric, title) in zip(axes, panels.items(), strict=True):
            for number, ((generator, architecture), group) in enumerate(groups):
                several = ours["generator"].nunique() > 1
                label = f"{write(architecture)}, {write(generator)}" if several else write(architecture)
                alone = group["real_synthetic"].map(synthetic_share) == 1
                # Synthetic slices alone are no further step along the axis: no line leads there.
                for part, name in ((group[~alone], label), (group[alone], None)):
                    shift = STEP * (number - (len(groups) - 1) / 2)
                    part = part.sort_values("real_synthetic", key=lambda names: names.map(synthetic_share))
                    places = [ratios.index(ratio) + shift for ratio in part["real_synthetic"]]
                    points(axis, places, part, metric, number, name)
            places = [ratios.index(ratio) for ratio in paper["real_synthetic"]]
            label = "ViT (ResNet-50) in the paper, on another cohort"
            axis.plot(places, paper[metric], "*--", color=GREY, mfc="white", ms=10, lw=0.8, label=label, zorder=1)
            axis.set(title=title, xlabel="real : synthetic", ylim=(0, 1))
            axis.set_xticks(range(len(ratios)), ratios)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
    n = int(ours["n"].max()) if len(ours) else 0
    caption = (
        f"Points: this run, over {n} test patients; bars: interval by resampling patients. 0:1, apart: synthetic "
        "slices alone. Stars: the paper's numbers on its own 30 test patients; they show where the method stood there, "
        "not a target for another cohort."
    )
    return Picture(figure, "Detection against the share of synthetic slices", caption)


def plot_lesion_sizes(table: pd.DataFrame) -> Picture | None:
    """Recall and false positives by the lesion's volume: a column per detector, a curve per mix; None without rows."""
    ours = table[table["source"] == OURS]
    if ours.empty:
        return None
    detectors = list(ours.groupby(["generator", "architecture"], sort=True))
    sizes, ratios = list(ours["size"].unique()), sorted(ours["real_synthetic"].unique(), key=synthetic_share)
    panels = {"lesion_recall": "Recall", "false_positives_per_patient": "False positives per patient"}
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(max(5.0, 4.5 * len(detectors)), 6), layout="constrained")
        axes = figure.subplots(len(panels), len(detectors), squeeze=False, sharex="col", sharey="row")
        for column, ((generator, architecture), rows) in zip(axes.T, detectors, strict=True):
            several = ours["generator"].nunique() > 1
            name = f"{write(architecture)}, {write(generator)}" if several else write(architecture)
            for axis, (metric, title) in zip(column, panels.items(), strict=True):
                for number, ratio in enumerate(ratios):
                    curve = rows[rows["real_synthetic"] == ratio]
                    shift = STEP * (number - (len(ratios) - 1) / 2)
                    places = [sizes.index(size) + shift for size in curve["size"]]
                    points(axis, places, curve, metric, number, ratio)
                axis.set_title(f"{name}: {title.lower()}" if len(detectors) > 1 else title)
            lesions = rows.drop_duplicates("size").set_index("size")["n_lesions"]
            column[-1].set_xticks(range(len(sizes)), [f"{size}\n({lesions[size]:.0f})" for size in sizes])
            column[-1].set_xlabel("volume, mm³ (true lesions)")
        # A margin, so that points at the ends are seen whole; rows share their limits.
        for axis, top in zip(axes[:, 0], (1.0, axes[1, 0].get_ylim()[1]), strict=True):
            axis.set_ylim(-0.03 * top, 1.03 * top)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(ratios), title="real : synthetic")
    caption = (
        f"By the volume of the true lesion above, of the prediction below, over {int(ours['n'].max())} test patients; "
        "in brackets the number of true lesions. Bars: interval by resampling patients."
    )
    return Picture(figure, "Detection by the size of the lesion", caption)
