import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from msdiff.forecasting.judging import MonteCarloSettings
from msdiff.tables.activity_prediction import activity_prediction_table
from msdiff.tables.forecasts import monte_carlo

ARMS = ["placebo", "mild_efficacy", "high_efficacy"]
BASELINE = MonteCarloSettings(runs=6, seed=0)
PROMISED = [
    *("source", "cohort", "arm", "method", "n", "n_positive", "training_prevalence"),
    *("ap", "auc", "ap_difference", "auc_difference"),
]


@pytest.fixture
def table(training, tested, table_settings):
    return activity_prediction_table(training, tested, ARMS, "trials", BASELINE, table_settings)


def ours(table):
    return table[table["source"] == "msdiff"].set_index(["arm", "method"])


def test_columns_are_those_promised(table):
    assert [column for column in table.columns if not column.endswith(("_lo", "_hi"))] == PROMISED
    assert all({f"{name}_lo", f"{name}_hi"} <= set(table.columns) for name in PROMISED[7:])


def test_numbers_are_those_of_scikit_learn(table, tested):
    truth, score = tested["true_active"] > 0, tested["activity_probability"]
    row = ours(table).loc[("all", "net2")]
    assert row["ap"] == pytest.approx(average_precision_score(truth, score))
    assert row["auc"] == pytest.approx(roc_auc_score(truth, score))
    assert row["auc_lo"] < row["auc"] < row["auc_hi"]
    assert (row["n"], row["n_positive"]) == (60, truth.sum())


def test_the_baseline_is_the_mean_of_its_runs(table, training, tested):
    """Of all arms, every patient has his own arm's share; an arm's runs are the same ones."""
    share = {arm: (group["count"] > 0).mean() for arm, group in training.groupby("arm")}
    outcomes = monte_carlo(tested["arm"].map(share).to_numpy(), BASELINE)
    for arm in ("all", "placebo"):
        chosen = (tested["arm"] == arm) | (arm == "all")
        truth = tested["true_active"][chosen] > 0
        expected = np.mean([roc_auc_score(truth, run[chosen]) for run in outcomes])
        assert ours(table).loc[(arm, "monte_carlo"), "auc"] == pytest.approx(expected)
    assert ours(table).loc[("placebo", "monte_carlo"), "training_prevalence"] == pytest.approx(share["placebo"])
    assert np.isnan(ours(table).loc[("all", "monte_carlo"), "training_prevalence"])


def test_the_gain_is_paired_by_patient(table):
    net2, chance = ours(table).loc[("all", "net2")], ours(table).loc[("all", "monte_carlo")]
    for name in ("ap", "auc"):
        assert net2[f"{name}_difference"] == pytest.approx(net2[name] - chance[name])
        assert net2[f"{name}_difference_lo"] < net2[f"{name}_difference"] < net2[f"{name}_difference_hi"]
        assert np.isnan(chance[f"{name}_difference"])


def test_an_interval_is_that_of_each_resample_in_turn(training, tested, table_settings):
    """A second implementation: resample by resample, with scikit-learn."""
    table = activity_prediction_table(training, tested, ARMS, "trials", BASELINE, table_settings)
    truth, score = tested["true_active"].to_numpy() > 0, tested["activity_probability"].to_numpy()
    draws = np.random.default_rng([7]).integers(60, size=(200, 60))
    values = [roc_auc_score(truth[draw], score[draw]) for draw in draws]
    limits = ours(table).loc[("all", "net2"), ["auc_lo", "auc_hi"]].tolist()
    assert limits == pytest.approx(np.percentile(values, [2.5, 97.5]).tolist())


def test_with_one_class_cells_are_empty_and_counts_say_why(training, tested, table_settings):
    quiet = tested.assign(true_active=tested["true_active"].where(tested["arm"] != "high_efficacy", 0))
    table = activity_prediction_table(training, quiet, [*ARMS, "no_efficacy"], "trials", BASELINE, table_settings)
    for arm, patients in (("high_efficacy", 20), ("no_efficacy", 0)):
        for method in ("net2", "monte_carlo"):
            row = ours(table).loc[(arm, method)]
            assert (row["n"], row["n_positive"]) == (patients, 0)
            assert row.filter(regex="^(ap|auc)").isna().all()


def test_a_perfect_forecast_is_perfect(training, tested, table_settings):
    perfect = tested.assign(activity_probability=tested["true_active"].astype(float))
    row = ours(activity_prediction_table(training, perfect, ARMS, "trials", BASELINE, table_settings)).loc[
        ("all", "net2")
    ]
    assert row[["ap", "ap_lo", "ap_hi", "auc", "auc_lo", "auc_hi"]].tolist() == [1] * 6
    assert row["auc_difference_lo"] > 0


def test_the_papers_rows_stand_beside(table):
    paper = table[table["source"] == "paper"].set_index(["arm", "method"])
    assert len(paper) == 12
    assert paper.loc[("high_efficacy", "net2"), ["ap", "auc"]].tolist() == [0.083, 0.868]
    assert paper.loc[("placebo", "monte_carlo"), ["ap", "auc"]].tolist() == [0.513, 0.495]
    assert paper[["n", "n_positive"]].isna().all(axis=None)
    assert paper.filter(regex="_(lo|hi)$").isna().all(axis=None)


def test_order_of_patients_does_not_matter(training, tested, table, table_settings):
    """Lists are read in the order of their subjects (read_forecasts); training patients may come in any."""
    shuffled = training.sample(frac=1, random_state=3)
    pd.testing.assert_frame_equal(
        table, activity_prediction_table(shuffled, tested, ARMS, "trials", BASELINE, table_settings)
    )
