"""The figures of the report, in one table: each by its name, drawn from what a run left."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from msdiff.cohort.samples import Shard
from msdiff.cohort.stacks import Stack
from msdiff.report import ablation_figures, chart_figures, detection_figures, preview_figures, slice_figures
from msdiff.report.pictures import Picture


class Sources(NamedTuple):
    """What figures are drawn from: the stack, the contrast shown, held-out shards, histories, tables, previews."""

    stack: Stack
    contrast: str
    shards: Sequence[Shard]
    histories: Mapping[str, pd.DataFrame]
    tables: Mapping[str, pd.DataFrame]
    previews: Sequence[Path]
    n_patients: int


# A figure whose sources a run does not have is None, or asks for a table that is not there.
FIGURES: dict[str, Callable[[Sources], Picture | None]] = {
    "follow_ups": lambda run: slice_figures.draw_follow_ups(run.stack, run.contrast, run.shards, run.n_patients),
    "image_quality": lambda run: chart_figures.draw_image_quality(run.tables["image_quality"]),
    "ablation": lambda run: ablation_figures.draw_ablation(run.tables["ablation"]),
    "augmentation": lambda run: detection_figures.draw_augmentation(run.tables["augmentation"]),
    "lesion_sizes": lambda run: detection_figures.draw_lesion_sizes(run.tables["lesion_sizes"]),
    "preprocessing": lambda run: slice_figures.draw_preprocessing(run.stack, run.contrast, run.n_patients),
    "losses": lambda run: chart_figures.draw_histories(run.histories),
    "previews": lambda run: preview_figures.draw_previews(run.previews),
}
# The table that a figure needs; the others need none.
NEEDS = {name: name for name in ("image_quality", "ablation", "augmentation", "lesion_sizes")}


def draw(run: Sources) -> Iterator[tuple[str, Picture]]:
    """Name and picture of every figure that this run has something to draw for, one after the other."""
    for name, function in FIGURES.items():
        if name in NEEDS and NEEDS[name] not in run.tables:
            continue
        picture = function(run)
        if picture is not None:
            yield name, picture
