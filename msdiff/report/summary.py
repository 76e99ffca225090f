"""The opening of the report: what was run on whom, the main numbers, and what they do not show."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from msdiff.report.parts import ReportPart
from msdiff.report.phrases import FEW_PATIENTS, count, listed, number
from msdiff.report.run import Run
from msdiff.report.systems import PARTS


class Paragraph(NamedTuple):
    """A paragraph of the summary: what it is about, and its sentences."""

    title: str
    text: str


def warning(run: Run, parts: Sequence[ReportPart] = PARTS) -> str:
    """What the size of the test set forbids to conclude; empty where it is large enough to conclude something."""
    sizes = {what: n for part in parts for what, n in part.tested(run).items()}
    small = [count(n, f"{what} patient") for what, n in sizes.items() if n < FEW_PATIENTS]
    if not small:
        return ""
    return (
        f"This run proves nothing about any method. Its tables rest on {listed(small)}, and with fewer than "
        f"{FEW_PATIENTS} one patient more or less can turn any comparison around. It shows that the workflow runs from "
        "raw scans to tables, and nothing else."
    )


def summary(run: Run, parts: Sequence[ReportPart] = PARTS) -> list[Paragraph]:
    """The paragraphs of the summary, of what the run has."""
    parts = [part for part in parts if part.ran(run)]
    written = [("What was run", " ".join(sentence for part in parts for sentence in part.opening(run)))]
    written += [(title, " ".join(about(run))) for part in parts for title, about in part.summary.items()]
    written.append(("What this does not show", " ".join(_limits(run, parts))))
    return [Paragraph(title, text) for title, text in written if text]


def _limits(run: Run, parts: Sequence[ReportPart]) -> Iterator[str]:
    level = run.setting("tables.confidence_level")
    if level is not None:
        yield (
            f"Brackets hold {number(100 * level)} % intervals from resampling patients; they tell nothing of other "
            "scanners, cohorts or trainings."
        )
    if warning(run, parts):
        few = f"Resampling fewer than {FEW_PATIENTS} patients makes intervals too narrow"
        yield f"{few}: one that leaves 0 is no evidence."
    for part in parts:
        yield from part.limits(run)
    yield "Nothing here was judged for clinical use."
