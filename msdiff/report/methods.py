"""The methods in brief: each part's own paragraphs, with the settings of this run."""

from collections.abc import Sequence
from pathlib import Path

from msdiff.report.parts import ReportPart
from msdiff.report.run import Run
from msdiff.report.systems import PARTS
from msdiff.report.templates import paragraphs

# What holds for the numbers of all parts.
FOR_ALL = Path(__file__).with_name("methods.j2")


def methods(run: Run, parts: Sequence[ReportPart] = PARTS) -> list[tuple[str, str]]:
    """Title and text of each paragraph of the methods, of the parts that the run has."""
    written = [paragraph for part in parts if part.ran(run) for paragraph in part.methods_of(run)]
    return [(title, text) for title, text in [*written, *paragraphs(FOR_ALL, run.config)] if text]
