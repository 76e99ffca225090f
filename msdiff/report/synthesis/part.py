"""The generators of follow-ups as a part of the report."""

from pathlib import Path

from msdiff.report.parts import Figure, ReportPart
from msdiff.report.synthesis.card import card_values
from msdiff.report.synthesis.generators import methods
from msdiff.report.synthesis.sentences import (
    about_ablation,
    about_generators,
    about_image_quality,
    about_images,
    generators_of,
)

PART = ReportPart(
    folder=Path(__file__).parent,
    title="Generated follow-ups",
    ran=lambda run: bool(generators_of(run)),
    tables={"image_quality": about_image_quality, "ablation": about_ablation},
    figures={
        "follow_ups": Figure(
            "Pictures show whether a lesion is where it was asked for; a few slices do not say how often it is.",
            "msdiff.report.synthesis.figures:plot_follow_ups",
            ("stack", "contrast", "held_out", "n_patients"),
        ),
        "image_quality": Figure(
            "A copy has little error outside the lesions, too; the lesion panels tell generators from copies.",
            "msdiff.report.synthesis.charts:plot_image_quality",
            ("table/image_quality",),
        ),
        "ablation": Figure(
            "A variant matters where its interval leaves 0, and only if it would again in another training.",
            "msdiff.report.synthesis.ablation:plot_ablation",
            ("table/ablation",),
        ),
    },
    methods=methods,
    opening=about_generators,
    summary={"Generated follow-ups": about_images},
    tested=lambda run: run.fewest("image_quality", "held-out"),
    kept=lambda record: bool(record.generators or record.manifests),
    card=card_values,
)
