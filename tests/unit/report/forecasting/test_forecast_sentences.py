import forecast_tables as tables
import pytest

from msdiff.report.phrases import MINUS
from msdiff.report.summary import summary, warning
from msdiff.report.systems import say


@pytest.fixture
def said(run_of):
    """What is said of a table of forecasts, with all five beside it; with a plain minus."""

    def build(name, table):
        return say(name, run_of({**tables.all_tables(), name: table})).replace(MINUS, "-")

    return build


def test_an_interval_that_leaves_chance_is_told_from_one_that_does_not(said):
    text = said("activity_prediction", tables.activity())
    assert "16 of 42 test patients had a new lesion" in text
    assert "an AUC of 0.8 [0.65, 0.95], beyond the 0.5 of chance" in text
    assert "reach 0.55; the difference is 0.25 [0.05, 0.45], an interval without 0." in text
    table = tables.activity()
    table.loc[table["arm"] == "all", "auc_lo"] = 0.48
    table.loc[table["arm"] == "all", "auc_difference_lo"] = -0.1
    text = said("activity_prediction", table)
    assert "which does not leave the 0.5 of chance" in text
    assert "the difference is 0.25 [-0.1, 0.45], which chance may explain" in text


def test_within_arms_the_treatment_helps_nobody(said):
    text = said("activity_prediction", tables.activity())
    assert "of the 3 arms that can have an AUC, the interval lies above 0.5 in placebo and high efficacy" in text
    assert "Fewest are active in high efficacy (ocrelizumab): 1 of 12, on whom its AUC" in text
    table = tables.activity()
    table.loc[table["arm"] != "all", "auc_lo"] = 0.4
    assert "the interval lies above 0.5 in none." in said("activity_prediction", table)
    table.loc[table["arm"] != "all", "auc"] = None
    assert "this may be the arm alone" in said("activity_prediction", table)


def test_the_papers_numbers_are_named_as_such(said):
    assert "In the paper the AUC is 0.536 to 0.868 by arm" in said("activity_prediction", tables.activity())
    assert "paper" not in said("activity_prediction", tables.activity(paper=False))
    assert "0.684 (cerebral white matter) and 0.697 (cerebral cortex)" in said("regional_accuracy", tables.regional())


def test_without_both_kinds_of_patients_nothing_is_told_apart(said):
    table = tables.activity(paper=False)
    table[["auc", "auc_lo", "auc_hi"]] = None
    table["n_positive"] = 0
    text = said("activity_prediction", table.astype({"auc": float, "auc_lo": float, "auc_hi": float}))
    assert "0 of 42 test patients had a new lesion: without both kinds" in text


def test_regions_have_their_positive_patients_and_threshold(said):
    text = said("regional_accuracy", tables.regional())
    assert "14 of 42 test patients had a new lesion in the cerebral white matter" in text
    assert "balanced accuracy 0.7 [0.6, 0.8], beyond the 0.5 of chance" in text
    assert "balanced accuracy 0.55 [0.45, 0.65], which does not leave the 0.5 of chance" in text
    assert "where its score reaches 0.35" in text
    assert "knows the treatment, outcomes sampled by share do not" in text


def test_counts_are_held_against_the_average(said):
    text = said("lesion_count", tables.counts())
    assert "0.9 [0.89, 0.91] with the forecasts' mean count and 1.1 with the average" in text
    assert "smaller one in 2 of 3 arms (placebo and mild efficacy" in text


def test_a_trend_over_arms_is_told_with_its_exceptions(said):
    text = said("counterfactuals", tables.counterfactuals())
    assert "the mean predicted count falls (2 [1.9, 2.1] to 0.2 [0.1, 0.3])" in text
    assert "the difference in activity is -0.7 [-0.8, -0.6], an interval without 0" in text
    assert "Not at every step" not in text
    bumpy = said("counterfactuals", tables.counterfactuals(((2.0, 0.5), (2.1, 0.6), (0.2, 0.1))))
    assert "Not at every step: the share of active forecasts rises from placebo to mild efficacy" in bumpy
    table = tables.counterfactuals()
    table.loc[len(table)] = {**table.iloc[-1].dropna().to_dict(), "arm": "other", "n": 0}
    assert said("counterfactuals", table) == text
    flat = said("counterfactuals", tables.counterfactuals(((1.0, 0.5), (1.0, 0.5), (1.0, 0.55))))
    assert "the share of active forecasts does not fall (0.5" in flat
    assert "which chance may explain" in flat
    assert "no number here is the effect of a treatment on a patient" in flat


@pytest.mark.parametrize(("observed", "verdict"), [(0.4, "too high"), (0.6, "too low"), (0.52, "in its interval")])
def test_calibration_in_the_large(said, observed, verdict):
    text = said("calibration", tables.calibration(observed))
    assert f"with a probability of 0.5 on average, and came true in {observed:g}" in text
    assert f"the forecast is {verdict}." in text.split("That a voxel")[0]


def test_calibration_by_bin_and_brier(said):
    text = said("calibration", tables.calibration())
    assert "The Brier score is 0.2 [0.18, 0.22], less than the 0.25" in text
    assert "In 3 of 3 bins the mean forecast lies outside" in text
    table = tables.calibration()
    table["observed_hi"] = 1.0
    assert "In 0 of 3 bins" in said("calibration", table)


def test_forecasts_stand_in_the_summary_and_the_warning(run_of):
    run = run_of(tables.all_tables())
    settings = {"cohorts": {"phantom": "trials"}, "draws": {"test": {"draws": 20}}}
    cohorts = {**run.config["cohort"], "trials": {"sheet": None}}
    run = run._replace(config={**run.config, "forecasting": settings, "cohort": cohorts})
    paragraphs = dict(summary(run))
    assert "an AUC of 0.8" in paragraphs["Forecasts"]
    assert "falls (2" in paragraphs["Forecasts"]
    assert (
        "trained on the simulated cohort trials and sampled 20 forecasts for each of 42" in paragraphs["What was run"]
    )
    assert "no forecast of it is checked" in paragraphs["What this does not show"]
    assert warning(run) == ""
    few = tables.activity()
    few["n"] = few["n"].clip(upper=7)
    assert "rest on 7 forecast test patients" in warning(run_of({"activity_prediction": few}))


def test_a_run_without_forecasts_says_nothing_of_them(run_of):
    run = run_of({})
    assert "Forecasts" not in dict(summary(run))
    assert all(say(name, run) == "" for name in tables.all_tables())
