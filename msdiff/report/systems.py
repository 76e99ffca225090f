"""The parts of the report in the order of the page, which is that of an article."""

from collections.abc import Sequence

from msdiff.report.cohort.part import PART as COHORT
from msdiff.report.compute.part import PART as COMPUTE
from msdiff.report.detection.part import PART as DETECTION
from msdiff.report.forecasting.part import PART as FORECASTING
from msdiff.report.imaging.part import PART as IMAGING
from msdiff.report.parts import ReportPart
from msdiff.report.privacy.part import PART as PRIVACY
from msdiff.report.reader_study.part import PART as READER_STUDY
from msdiff.report.run import Run
from msdiff.report.synthesis.part import PART as SYNTHESIS

PARTS: Sequence[ReportPart] = (COHORT, SYNTHESIS, DETECTION, FORECASTING, PRIVACY, READER_STUDY, IMAGING, COMPUTE)


def say(name: str, run: Run, parts: Sequence[ReportPart] = PARTS) -> str:
    """What the rows of a table show and do not show; empty for a table without sentences or rows of this run."""
    sentences = {table: about for part in parts for table, about in part.tables.items()}
    return sentences[name](run) if name in sentences and len(run.ours(name)) else ""
