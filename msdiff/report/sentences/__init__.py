"""Plain sentences about tables: what their numbers show, and what they do not.

A sentence is computed from the rows of this run, never from a paper's; the papers' numbers are named as such.
"""

from collections.abc import Callable

from msdiff.report.detection import sentences as detection
from msdiff.report.forecasting import sentences as forecasts
from msdiff.report.privacy import sentences as privacy
from msdiff.report.sentences import data, readers
from msdiff.report.sentences.phrases import FEW_PATIENTS, Run
from msdiff.report.sentences.summary import Paragraph, summary, warning
from msdiff.report.synthesis import sentences as images

__all__ = ["FEW_PATIENTS", "Paragraph", "Run", "say", "summary", "warning"]

SENTENCES: dict[str, Callable[[Run], str]] = {
    "cohort": data.about_cohort,
    "image_quality": images.about_image_quality,
    "ablation": images.about_ablation,
    "augmentation": detection.about_augmentation,
    "augmentation_tests": detection.about_augmentation_tests,
    "lesion_sizes": detection.about_lesion_sizes,
    "activity_prediction": forecasts.about_activity_prediction,
    "regional_accuracy": forecasts.about_regional_accuracy,
    "lesion_count": forecasts.about_lesion_count,
    "counterfactuals": forecasts.about_counterfactuals,
    "calibration": forecasts.about_calibration,
    "privacy": privacy.about_privacy,
    "reader_study": readers.about_reader_study,
    "quality": data.about_quality,
    "compute": data.about_compute,
}


def say(name: str, run: Run) -> str:
    """What the rows of this run show and do not show; empty for a table without sentences or rows."""
    return SENTENCES[name](run) if name in SENTENCES and len(run.ours(name)) else ""
