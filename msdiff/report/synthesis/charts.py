"""Figure of image quality by region."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from msdiff.report.colours import SKY, VERMILION
from msdiff.report.pictures import GREY, STYLE, Picture
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


def reference(ours: pd.DataFrame, name: str, metric: str) -> float | None:
    """The first value of a metric that a reference has; None where it has none."""
    values = ours.loc[ours["generator"] == name, metric].dropna()
    return float(values.iloc[0]) if len(values) else None
