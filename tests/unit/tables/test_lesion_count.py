import numpy as np
import pytest

from msdiff.tables.lesion_count import lesion_count_table, squared_log_error

ARMS = ["placebo", "mild_efficacy", "high_efficacy"]
PROMISED = [
    *("source", "cohort", "arm", "method", "n", "n_positive", "mse_log_count", "mse_log_count_difference"),
]


def test_columns_are_those_promised(training, tested, table_settings):
    table = lesion_count_table(training, tested, ARMS, "trials", table_settings)
    assert [column for column in table.columns if not column.endswith(("_lo", "_hi"))] == PROMISED
    paper = table[table["source"] == "paper"].set_index(["arm", "method"])
    assert paper.loc[("high_efficacy", "average"), "mse_log_count"] == 0.010
    assert len(paper) == 12


def test_the_logarithm_is_natural_and_adds_one():
    errors = squared_log_error(np.array([np.e - 1, 0.0, 2.0]), np.array([0.0, 0.0, 2.0]))
    np.testing.assert_allclose(errors, [1, 0, 0])


def test_known_answers(training, tested, table_settings):
    """The arm's mean of the training patients, and the draws' mean, each against the truth."""
    table = lesion_count_table(training, tested, ARMS, "trials", table_settings)
    ours = table[table["source"] == "msdiff"].set_index(["arm", "method"])
    group = tested[tested["arm"] == "placebo"]
    average = training[training["arm"] == "placebo"]["count"].mean()
    by_average = np.mean((np.log(1 + average) - np.log(1 + group["true_count"])) ** 2)
    by_forecast = np.mean((np.log(1 + group["count_mean"]) - np.log(1 + group["true_count"])) ** 2)
    assert ours.loc[("placebo", "average"), "mse_log_count"] == pytest.approx(by_average)
    row = ours.loc[("placebo", "net2")]
    assert row["mse_log_count"] == pytest.approx(by_forecast)
    assert row["mse_log_count_difference"] == pytest.approx(by_forecast - by_average)
    assert row["mse_log_count_difference_lo"] < row["mse_log_count_difference"] < row["mse_log_count_difference_hi"]
    assert (row["n"], row["n_positive"]) == (20, (group["true_count"] > 0).sum())


def test_all_arms_take_each_patients_own_average(training, tested, table_settings):
    table = lesion_count_table(training, tested, ARMS, "trials", table_settings)
    average = table[(table["source"] == "msdiff") & (table["method"] == "average")].set_index("arm")["mse_log_count"]
    assert average["all"] == pytest.approx(average[ARMS].mean())


def test_the_published_baseline_fits_a_natural_logarithm():
    """High efficacy: one of the 54 test patients that the arm's size suggests is active; training mean 0.07 (table 1).

    With one to two lesions there the natural logarithm gives about the published 0.010, that to base 10 a fifth of it.
    """
    counts = np.zeros(54)
    counts[0] = 1
    natural = squared_log_error(np.full(54, 0.07), counts).mean()
    assert natural == pytest.approx(0.0117, abs=1e-4)
    assert natural / np.log(10) ** 2 == pytest.approx(0.0022, abs=1e-4)


def test_an_arm_without_patients_is_empty(training, tested, table_settings):
    others = tested[tested["arm"] != "placebo"].reset_index(drop=True)
    table = lesion_count_table(training, others, ARMS, "trials", table_settings)
    row = table[(table["source"] == "msdiff") & (table["arm"] == "placebo")].iloc[0]
    assert row["n"] == 0
    assert np.isnan(row["mse_log_count"])
