"""Figures of privacy: the synthetic follow-ups most like other patients' training follow-ups, and all similarities."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from msdiff.privacy.thresholds import level_weights
from msdiff.report.phrases import count
from msdiff.report.pictures import (
    COLOURS,
    DIFFERENCE_LIMIT,
    GREY,
    MINUS,
    ORIENTATION,
    STYLE,
    Picture,
    aspect_of,
    difference_bar,
    mark_sides,
    panels,
    show,
    show_difference,
)
from msdiff.report.words import write
from msdiff.sampling.shards import Shard
from msdiff.stack.reading import Stack

BINS = 40


def plot_pairs(stack: Stack, contrast: str, shards: Sequence[Shard], nearest: pd.DataFrame, n_pairs: int) -> Picture:
    """The samples of one measure's list that are most similar to a training follow-up of another patient.

    Flagged or not: where none is flagged, the nearest are shown all the same, and the caption says so.
    """
    rows = nearest[nearest["kind"] == "synthetic"].sort_values("similarity", ascending=False, kind="stable")
    chosen, n_flagged = rows.head(n_pairs), int(rows["flagged"].sum())
    places = {
        (sample, number): (shard, place)
        for shard in shards
        for place, (sample, number) in enumerate(zip(shard.manifest["sample"], shard.manifest["slice"], strict=True))
        if sample in set(chosen["sample"])
    }
    names = ["Synthetic", "Nearest training follow-up", f"Synthetic {MINUS} nearest", "Own baseline"]
    names.append(f"Synthetic {MINUS} own baseline")
    images = stack.array(contrast)
    aspect = aspect_of(stack.grid)
    with mpl.rc_context(STYLE):
        figure, axes = panels(len(chosen), names, aspect, images.shape[-2:])
        for axis, row in zip(axes, chosen.itertuples(), strict=True):
            shard, place = places[row.sample, row.slice]
            follow_up = shard.read("follow_up", place)
            baseline_row = int(shard.manifest["baseline_row"].iloc[place])
            baseline = stack.read(contrast, baseline_row, row.slice).astype(np.float32)
            found = stack.read(contrast, row.nearest_row, row.nearest_slice).astype(np.float32)
            for panel, image in zip(axis[[0, 1, 3]], (follow_up, found, baseline), strict=True):
                show(panel, image, aspect)
            for panel, image in zip(axis[[2, 4]], (follow_up - found, follow_up - baseline), strict=True):
                show_difference(panel, image, aspect)
            flagged = "flagged" if row.flagged else "not flagged"
            axis[0].set_ylabel(f"sample {row.sample}\n{row.similarity:.3f}\n{flagged}", fontsize=8)
            axis[1].set_ylabel(f"{row.nearest_subject}\nslice {row.nearest_slice}", fontsize=8)
        mark_sides(axes[0, 0])
        difference_bar(figure, axes[:, 4:])
    threshold = chosen["threshold"].iloc[0]
    judged = f"{n_flagged} of {len(rows)} are flagged" if n_flagged else f"none of {len(rows)} is flagged"
    caption = (
        f"The {len(chosen)} synthetic follow-ups most similar to a training follow-up of another patient than their "
        f"baseline's, by {write(str(chosen['measure'].iloc[0]))}, most similar first; {judged} (above "
        f"{threshold:.3f}). {ORIENTATION} Differences are cut at ±{DIFFERENCE_LIMIT}."
    )
    return Picture(figure, "Synthetic follow-ups and the training follow-ups nearest to them", caption)


def plot_similarities(nearest: pd.DataFrame) -> Picture:
    """How similar synthetic and held-out real follow-ups are to the nearest training follow-up of another patient."""
    measures = list(nearest["measure"].unique())
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 3.2), layout="constrained")
        axes = figure.subplots(1, len(measures), squeeze=False)[0]
        for axis, measure in zip(axes, measures, strict=True):
            rows = nearest[nearest["measure"] == measure]
            synthetic, real = rows[rows["kind"] == "synthetic"], rows[rows["kind"] == "held_out"]
            curves = {
                "synthetic, nearest": (synthetic["similarity"], None, "-"),
                "real held-out, nearest": (real["similarity"], level_weights(real["slice"], synthetic["slice"]), "--"),
                "synthetic, own baseline": (synthetic["baseline_similarity"], None, ":"),
            }
            lowest = min(values.min() for values, _, _ in curves.values())
            bins = np.linspace(lowest, 1, BINS + 1).tolist()
            for (name, (values, weights, line)), colour in zip(curves.items(), COLOURS, strict=False):
                axis.hist(
                    values,
                    bins,
                    weights=weights,
                    density=True,
                    histtype="step",
                    lw=1.4,
                    ls=line,
                    color=colour,
                    label=name,
                )
            axis.axvline(rows["threshold"].iloc[0], color=GREY, lw=1.2, ls="-.", label="limit")
            axis.set(
                title=write(str(measure)), xlabel="similarity", ylabel="density" if measure == measures[0] else None
            )
        axes[0].legend(fontsize=8, loc="upper left")
    n = nearest.groupby("kind")["subject"].nunique()
    caption = (
        "Similarity to the nearest training follow-up of another patient: synthetic follow-ups on the baselines of "
        f"{count(n['synthetic'], 'training patient')}, and real follow-ups of "
        f"{count(n['held_out'], 'held-out patient')}, spread over the levels of the head as the synthetic ones are. "
        "Beyond the limit, which real ones hardly ever reach, a synthetic follow-up is flagged. Its similarity to its "
        "own baseline, from which it is made, stands beside it."
    )
    return Picture(figure, "Similarity to training follow-ups", caption)
