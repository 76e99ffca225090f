"""The scans and their preprocessing as a part of the report."""

from pathlib import Path

from msdiff.report.imaging.sentences import about_quality, scan_facts, shown_scans
from msdiff.report.parts import Figure, ReportPart

PART = ReportPart(
    folder=Path(__file__).parent,
    title="Preprocessing",
    ran=lambda run: run.setting("preprocess") is not None,
    tables={"quality": about_quality},
    figures={
        "preprocessing": Figure(
            "The worst by one measure: a fault that both scans of a patient share does not show here.",
            "msdiff.report.imaging.figures:plot_preprocessing",
            ("stack", "contrast", "n_patients"),
        )
    },
    facts=scan_facts,
    scans=shown_scans,
)
