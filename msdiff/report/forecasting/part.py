"""Forecasts of new lesions as a part of the report."""

from pathlib import Path

from msdiff.report.forecasting.card import card_values
from msdiff.report.forecasting.sentences import (
    about_activity_prediction,
    about_calibration,
    about_counterfactuals,
    about_forecasters,
    about_forecasts,
    about_lesion_count,
    about_limits,
    about_regional_accuracy,
    forecast_facts,
    tested,
)
from msdiff.report.parts import Figure, ReportPart, has_rows

PLOTS = "msdiff.report.forecasting"

PART = ReportPart(
    folder=Path(__file__).parent,
    title="Forecasts of new lesions under treatment",
    ran=has_rows("activity_prediction"),
    tables={
        "activity_prediction": about_activity_prediction,
        "regional_accuracy": about_regional_accuracy,
        "lesion_count": about_lesion_count,
        "calibration": about_calibration,
        "counterfactuals": about_counterfactuals,
    },
    figures={
        "forecasts": Figure(
            "Forecasts are samples, and each may be right in its way; a few do not show how often they are.",
            f"{PLOTS}.figures:plot_forecasts",
            ("slabs", "forecasts/test", "n_patients"),
        ),
        "heat_maps": Figure(
            "A true lesion on a likely place is one case; the tables show how often that is so.",
            f"{PLOTS}.figures:plot_heat_maps",
            ("slabs", "forecasts/heat_maps", "n_patients"),
        ),
        "activity_prediction": Figure(
            "Within an arm the treatment helps no forecast; few active patients make a wide interval.",
            f"{PLOTS}.charts:plot_activity",
            ("table/activity_prediction",),
        ),
        "calibration": Figure(
            "A point far from the line with a wide interval shows nothing but its few patients.",
            f"{PLOTS}.charts:plot_calibration",
            ("table/calibration",),
        ),
        "one_patient": Figure(
            "One patient: an illustration of what the network learned, which nothing can confirm.",
            f"{PLOTS}.figures:plot_one_patient",
            ("slabs", "forecasts/counterfactuals"),
        ),
        "counterfactuals": Figure(
            "Forecasts that fall with efficacy show what the network learned of arms, not what a drug does.",
            f"{PLOTS}.charts:plot_counterfactuals",
            ("table/counterfactuals",),
        ),
    },
    opening=about_forecasters,
    summary={"Forecasts": about_forecasts},
    limits=about_limits,
    tested=tested,
    facts=forecast_facts,
    kept=lambda record: bool(record.forecasters or record.forecasts),
    card=card_values,
)
