"""Trainings and computing time as a part of the report."""

from pathlib import Path

from msdiff.report.compute.sentences import about_compute, compute_facts
from msdiff.report.parts import Figure, ReportPart, has_rows

PART = ReportPart(
    folder=Path(__file__).parent,
    title="Training and compute",
    ran=has_rows("compute"),
    tables={"compute": about_compute},
    figures={
        "losses": Figure(
            "A loss that falls shows that a network learned something, not that it learned what a reader wants.",
            "msdiff.report.compute.figures:plot_histories",
            ("histories",),
        ),
        "previews": Figure(
            "Sampled during the training from few patients; they show that it works, not how well.",
            "msdiff.report.compute.previews:plot_previews",
            ("previews",),
        ),
    },
    facts=compute_facts,
)
