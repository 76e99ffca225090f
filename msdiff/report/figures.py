"""The figures of the report: each part declares its own, with what they are plotted from."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msdiff.report.parts import ReportPart
from msdiff.report.pictures import Picture
from msdiff.report.systems import PARTS


def plot(sources: Mapping[str, Any], parts: Sequence[ReportPart] = PARTS) -> Iterator[tuple[str, Picture]]:
    """Name and picture of every figure that this run has something to show for, one after the other.

    `sources` by name: stack, contrast (the one that is shown), held_out (shards of held-out patients), histories,
    previews, n_patients, table/NAME, and where a run forecasts slabs and forecasts/PURPOSE.
    """
    for part in parts:
        for name, figure in part.figures.items():
            if not figure.function or any(source not in sources for source in figure.sources):
                continue
            picture = figure.load()(*(sources[source] for source in figure.sources))
            if picture is not None:
                yield name, picture
