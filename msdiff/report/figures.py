"""The figures of the report, in one table: each by its name, drawn from what a run left."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import pandas as pd

from msdiff.forecasting.slabs import Slabs
from msdiff.report import chart_figures
from msdiff.report.detection import figures as detection_figures
from msdiff.report.forecasting import charts as forecast_charts
from msdiff.report.forecasting import figures as forecast_figures
from msdiff.report.forecasting.reading import Forecasts
from msdiff.report.pictures import Picture
from msdiff.report.synthesis import ablation as ablation_figures
from msdiff.report.synthesis import figures as slice_figures
from msdiff.report.synthesis import previews as preview_figures
from msdiff.sampling.shards import Shard
from msdiff.stack.reading import Stack


class Sources(NamedTuple):
    """What figures are drawn from.

    That is the stack, the contrast shown, held-out shards, histories, tables, previews; and where a run forecasts, the
    slabs and the forecasts by purpose.
    """

    stack: Stack
    contrast: str
    shards: Sequence[Shard]
    histories: Mapping[str, pd.DataFrame]
    tables: Mapping[str, pd.DataFrame]
    previews: Sequence[Path]
    n_patients: int
    slabs: Slabs | None = None
    forecasts: Mapping[str, Forecasts] = MappingProxyType({})


def _of_forecasts(
    purpose: str, function: Callable[[Slabs, Forecasts, int], Picture | None]
) -> Callable[[Sources], Picture | None]:
    """The figure of the forecasts of a purpose; None where the run has none."""

    def plotted(run: Sources) -> Picture | None:
        if run.slabs is None or purpose not in run.forecasts:
            return None
        return function(run.slabs, run.forecasts[purpose], run.n_patients)

    return plotted


# A figure whose sources a run does not have is None, or asks for a table that is not there.
FIGURES: dict[str, Callable[[Sources], Picture | None]] = {
    "follow_ups": lambda run: slice_figures.plot_follow_ups(run.stack, run.contrast, run.shards, run.n_patients),
    "image_quality": lambda run: chart_figures.plot_image_quality(run.tables["image_quality"]),
    "ablation": lambda run: ablation_figures.plot_ablation(run.tables["ablation"]),
    "augmentation": lambda run: detection_figures.plot_augmentation(run.tables["augmentation"]),
    "lesion_sizes": lambda run: detection_figures.plot_lesion_sizes(run.tables["lesion_sizes"]),
    "forecasts": _of_forecasts("test", forecast_figures.plot_forecasts),
    "heat_maps": _of_forecasts("heat_maps", forecast_figures.plot_heat_maps),
    "one_patient": _of_forecasts(
        "counterfactuals", lambda slabs, forecasts, _: forecast_figures.plot_one_patient(slabs, forecasts)
    ),
    "activity_prediction": lambda run: forecast_charts.plot_activity(run.tables["activity_prediction"]),
    "counterfactuals": lambda run: forecast_charts.plot_counterfactuals(run.tables["counterfactuals"]),
    "calibration": lambda run: forecast_charts.plot_calibration(run.tables["calibration"]),
    "preprocessing": lambda run: slice_figures.plot_preprocessing(run.stack, run.contrast, run.n_patients),
    "losses": lambda run: chart_figures.plot_histories(run.histories),
    "previews": lambda run: preview_figures.plot_previews(run.previews),
}
# The table that a figure needs; the others need none.
NEEDS = {
    name: name
    for name in (
        *("image_quality", "ablation", "augmentation", "lesion_sizes"),
        *("activity_prediction", "counterfactuals", "calibration"),
    )
}


def plot(run: Sources) -> Iterator[tuple[str, Picture]]:
    """Name and picture of every figure that this run has something to draw for, one after the other."""
    for name, function in FIGURES.items():
        if name in NEEDS and NEEDS[name] not in run.tables:
            continue
        picture = function(run)
        if picture is not None:
            yield name, picture
