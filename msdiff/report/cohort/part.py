"""The patients of a run as a part of the report."""

from pathlib import Path

from msdiff.report.cohort.card import card_values
from msdiff.report.cohort.sentences import about_cohort, about_limits, about_patients, cohort_facts
from msdiff.report.parts import ReportPart

PART = ReportPart(
    folder=Path(__file__).parent,
    title="Cohort",
    ran=lambda run: run.setting("study") is not None,
    tables={"cohort": about_cohort},
    opening=about_patients,
    limits=about_limits,
    facts=cohort_facts,
    card=card_values,
)
