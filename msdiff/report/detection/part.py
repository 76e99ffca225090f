"""Detectors of new lesions as a part of the report."""

from pathlib import Path

from msdiff.report.detection.sentences import (
    about_augmentation,
    about_augmentation_tests,
    about_detection,
    about_detectors,
    about_lesion_sizes,
    about_limits,
)
from msdiff.report.parts import Figure, ReportPart, has_rows

PART = ReportPart(
    folder=Path(__file__).parent,
    title="Detection of new lesions",
    ran=has_rows("augmentation"),
    tables={
        "augmentation": about_augmentation,
        "augmentation_tests": about_augmentation_tests,
        "lesion_sizes": about_lesion_sizes,
    },
    lists=("lesions",),
    figures={
        "augmentation": Figure(
            "A rise with the ratio shows a benefit only where the intervals separate.",
            "msdiff.report.detection.figures:plot_augmentation",
            ("table/augmentation",),
        ),
        "lesion_sizes": Figure(
            "Few lesions of a size make a wide interval.",
            "msdiff.report.detection.figures:plot_lesion_sizes",
            ("table/lesion_sizes",),
        ),
    },
    opening=about_detectors,
    summary={"Detection": about_detection},
    limits=about_limits,
    tested=lambda run: run.fewest("augmentation", "test"),
)
