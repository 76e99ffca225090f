"""Figures of the tables of forecasts: who becomes active by arm, counts under every arm, whether probabilities hold."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from msdiff.report.colours import BLUE, VERMILION
from msdiff.report.pictures import GREY, STYLE, Picture, points
from msdiff.report.words import write
from msdiff.tables.layout import OURS, PAPER

FORECAST, CHANCE, ALL = "net2", "monte_carlo", "all"
# Between marks of one arm, so that intervals do not hide each other.
STEP = 0.16


def plot_activity(table: pd.DataFrame) -> Picture | None:
    """AUC and average precision by arm with intervals, beside baseline and paper; None without rows."""
    ours, paper = table[table["source"] == OURS], table[table["source"] == PAPER]
    forecast = ours[ours["method"] == FORECAST]
    if forecast.empty:
        return None
    arms = list(forecast["arm"])
    places = dict(zip(arms, range(len(arms))[::-1], strict=True))
    # Ours with intervals above, the paper's points below, marks of the same method alike.
    rows = (
        ("this run", forecast, STEP, {"fmt": "o", "color": BLUE}),
        ("this run, baseline", ours[ours["method"] == CHANCE], 0.0, {"fmt": "s", "color": GREY, "mfc": "white"}),
        ("paper", paper[paper["method"] == FORECAST], -STEP, {"fmt": "*", "color": VERMILION, "ms": 9}),
        ("paper, baseline", paper[paper["method"] == CHANCE], -2 * STEP, {"fmt": "x", "color": VERMILION, "ms": 5}),
    )
    with mpl.rc_context(STYLE | {"axes.grid.axis": "x"}):
        figure = Figure(figsize=(9.5, 1.5 + 0.62 * len(arms)), layout="constrained")
        axes = figure.subplots(1, 2, sharey=True)
        for axis, metric, title in zip(axes, ("auc", "ap"), ("AUC", "Average precision"), strict=True):
            for label, group, shift, style in rows:
                shown = group[group["arm"].isin(arms)].dropna(subset=[metric])
                at = [places[arm] + shift for arm in shown["arm"]]
                axis.errorbar(
                    shown[metric], at, xerr=_errors(shown, metric), label=label, elinewidth=1, capsize=3, **style
                )
            axis.set(title=title, xlim=(-0.02, 1.02), ylim=(-0.7, len(arms) - 0.4))
        axes[0].axvline(0.5, color="black", ls="--", lw=1)
        shares = forecast["n_positive"] / forecast["n"].where(forecast["n"] > 0)
        heights = np.array([places[arm] for arm in arms])
        axes[1].vlines(shares, heights - 0.38, heights + 0.3, color="black", ls="--", lw=1)
        axes[0].set_yticks(
            heights,
            [f"{write(row.arm, 'arm')}\n{row.n_positive:.0f} of {row.n:.0f} active" for row in forecast.itertuples()],
        )
        axes[0].tick_params(axis="y", labelsize=8)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4)
    caption = (
        "Who has a new lesion at the last session, by the share of a patient's forecasts that hold one; below each "
        f"arm how many of its test patients were active ({forecast['n'].max():.0f} in all). Lines: interval by "
        "resampling patients; an arm without a mark has nobody active, or only active ones. Dashed: an AUC of 0.5, "
        "and the share of active patients, which chance gives. The baseline samples outcomes with the arm's share in "
        "the training set; over all arms it knows the arm, which is why it may pass 0.5 there. The paper prints no "
        "intervals, and its numbers are those of other patients."
    )
    return Picture(figure, "Who will have new lesions, by treatment arm", caption)


def plot_counterfactuals(table: pd.DataFrame) -> Picture | None:
    """Predicted counts and activity of the same patients under every arm, least effective first; None without rows."""
    ours = table[(table["source"] == OURS) & (table["n"] > 0)]
    if ours.empty:
        return None
    arms = list(ours["arm"])
    panels = {"mean_predicted_count": "Mean predicted count", "active_fraction": "Share of forecasts with a lesion"}
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 3.4), layout="constrained")
        axes = figure.subplots(1, 2)
        for axis, (metric, title) in zip(axes, panels.items(), strict=True):
            points(axis, [float(place) for place in range(len(arms))], ours, metric, 0, None)
            axis.set(title=title, ylim=(0, None))
            axis.set_xticks(range(len(arms)), [arm.replace("_", "\n") for arm in arms], fontsize=8)
            axis.margins(x=0.08)
    caption = (
        f"The same {ours['n'].max():.0f} test patients under every arm, least effective first, forecast from their "
        "scan before treatment and from the same noise. Bars: interval by resampling patients, wide where patients "
        "differ; how far an arm is from placebo for the same patient is in the table."
    )
    return Picture(figure, "The same patients under every treatment", caption)


def plot_calibration(table: pd.DataFrame) -> Picture | None:
    """Observed against predicted shares, of activity and of voxels, with intervals and counts; None without rows."""
    ours = table[(table["source"] == OURS) & (table["bin"] != ALL) & (table["n"] > 0)]
    if ours.empty:
        return None
    panels = {
        "activity": ("A patient has a new lesion", "n", "n_positive"),
        "voxel": ("A voxel lies in a new lesion", "n_voxels", "n_positive_voxels"),
    }
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 4.4), layout="constrained")
        axes = figure.subplots(1, 2)
        for axis, (quantity, (title, n, positive)) in zip(axes, panels.items(), strict=True):
            rows = ours[ours["quantity"] == quantity].sort_values("predicted")
            axis.plot([0, 1], [0, 1], color="black", ls="--", lw=1)
            points(axis, list(rows["predicted"]), rows, "observed", 0, None)
            _write_counts(axis, rows, n, positive)
            axis.set(title=title, xlabel="predicted probability", ylabel="observed share")
            # Hardly a voxel is ever likely to be in a lesion, so that its panel ends where its points do.
            reach = np.nanmax(rows[["predicted", "observed", "observed_hi"]].to_numpy(dtype=np.float64), initial=0.02)
            top = 1.0 if quantity == "activity" else min(1.0, 1.2 * float(reach))
            axis.set(xlim=(-0.04 * top, 1.04 * top), ylim=(-0.04 * top, 1.12 * top), aspect="equal")
    caption = (
        "Points: patients or voxels with forecasts of about that probability, and the share of them that came true; "
        f"beside each how many of how many. {ours['n'].max():.0f} test patients at most in a point. Bars: the table's "
        "intervals. On the dashed line forecasts hold what they say; below it they promise too much. Most voxels are "
        "hardly ever forecast and lie in the lowest point; their panel ends where its points do."
    )
    return Picture(figure, "Whether forecast probabilities hold", caption)


def _errors(rows: pd.DataFrame, metric: str) -> NDArray[np.float64] | None:
    """Lengths of the intervals (2, row); None where no row has one."""
    errors = np.abs(rows[[f"{metric}_lo", f"{metric}_hi"]].to_numpy(dtype=np.float64).T - rows[metric].to_numpy())
    return None if np.isnan(errors).all() else np.nan_to_num(errors)


def _write_counts(axis: Axes, rows: pd.DataFrame, n: str, positive: str) -> None:
    """Beside each point how many came true of how many."""
    for row in rows.to_dict("records"):
        axis.annotate(
            f"{row[positive]:,.0f}/{row[n]:,.0f}", (row["predicted"], row["observed"]), xytext=(6, -3),
            textcoords="offset points", fontsize=7, color=GREY, va="top",
        )  # fmt: skip
