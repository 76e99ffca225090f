"""Privacy as a part of the report; its figures are plotted by plot-nearest."""

from pathlib import Path

from msdiff.report.parts import Figure, ReportPart, has_rows
from msdiff.report.privacy.sentences import about_likeness, about_privacy

PAIRS = Figure("Heads look alike; a copy shares the course of single gyri and old lesions.")

PART = ReportPart(
    folder=Path(__file__).parent,
    title="Privacy",
    ran=has_rows("privacy"),
    tables={"privacy": about_privacy},
    figures={
        "privacy_similarities": Figure(
            "A follow-up beyond the limit is a reason to look at the pair, not a proof of copying."
        ),
        "privacy_pairs_pixel_correlation": PAIRS,
        "privacy_pairs_embedding": PAIRS,
    },
    summary={"Privacy": about_likeness},
)
