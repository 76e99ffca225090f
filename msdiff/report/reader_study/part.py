"""The reader study as a part of the report."""

from pathlib import Path

from msdiff.report.parts import ReportPart
from msdiff.report.reader_study.sentences import about_reader_study
from msdiff.report.synthesis.sentences import generators_of

PART = ReportPart(
    folder=Path(__file__).parent,
    title="Reader study",
    ran=lambda run: bool(generators_of(run)),
    tables={"reader_study": about_reader_study},
    note="No reader's answers are among this run's tables; the page for readers is ready.",
)
