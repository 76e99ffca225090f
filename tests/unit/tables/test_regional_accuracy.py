import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score, precision_score, recall_score

from msdiff.forecasting.judging import MonteCarloSettings, RegionalSettings
from msdiff.metrics.regional import REGIONS
from msdiff.tables.forecasts import monte_carlo
from msdiff.tables.regional_accuracy import regional_accuracy_table, tuned_threshold

TUNED = RegionalSettings(predict="ensemble", threshold="tuned")
HALF = RegionalSettings(predict="draws", threshold=0.5)
BASELINE = MonteCarloSettings(runs=6, seed=0)
PROMISED = [
    *("source", "cohort", "region", "method", "n", "n_positive", "training_prevalence", "threshold"),
    *("balanced_accuracy", "precision", "recall", "f1", "balanced_accuracy_difference"),
]
SCIKIT = {
    "balanced_accuracy": balanced_accuracy_score,
    "precision": precision_score,
    "recall": recall_score,
    "f1": f1_score,
}


@pytest.fixture
def make(training, validation, tested, table_settings):
    """A function for the rows of this run by region and method."""

    def make(regional, test=tested):
        table = regional_accuracy_table(training, validation, test, "trials", regional, BASELINE, table_settings)
        return table[table["source"] == "msdiff"].set_index(["region", "method"])

    return make


def test_columns_are_those_promised(training, validation, tested, table_settings):
    table = regional_accuracy_table(training, validation, tested, "trials", TUNED, BASELINE, table_settings)
    assert [column for column in table.columns if not column.endswith(("_lo", "_hi"))] == PROMISED
    paper = table[table["source"] == "paper"].set_index(["region", "method"])
    assert paper.loc[("cerebral_cortex", "monte_carlo"), list(SCIKIT)].tolist() == [0.503, 0.154, 0.135, 0.143]
    assert paper["n"].isna().all()


@pytest.mark.parametrize("region", REGIONS)
def test_numbers_are_those_of_scikit_learn(make, training, tested, region):
    table, truth = make(HALF), tested[f"true_{region}"] > 0
    outcomes = monte_carlo(np.full(60, training[region].mean()), BASELINE, list(REGIONS).index(region))
    for name, by_scikit in SCIKIT.items():
        expected = by_scikit(truth, tested[f"{region}_share"] >= 0.5)
        assert table.loc[(region, "net2"), name] == pytest.approx(expected)
        by_chance = np.mean([by_scikit(truth, run) for run in outcomes])
        assert table.loc[(region, "monte_carlo"), name] == pytest.approx(by_chance)
    net2, chance = table.loc[(region, "net2")], table.loc[(region, "monte_carlo")]
    assert (net2["n"], net2["n_positive"], net2["threshold"]) == (60, truth.sum(), 0.5)
    assert net2["balanced_accuracy_lo"] < net2["balanced_accuracy"] < net2["balanced_accuracy_hi"]
    gain = net2["balanced_accuracy"] - chance["balanced_accuracy"]
    assert net2["balanced_accuracy_difference"] == pytest.approx(gain)
    assert chance["training_prevalence"] == pytest.approx(training[region].mean())
    assert np.isnan(chance["threshold"])


def scored(white_matter, cortex):
    """Validation patients of (score, truth) in the two regions."""
    frame = pd.DataFrame({"subject": range(len(white_matter))})
    for region, pairs in zip(REGIONS, (white_matter, cortex), strict=True):
        frame[f"{region}_score"], frame[f"true_{region}"] = zip(*pairs, strict=True)
    return frame


def test_the_threshold_is_the_best_for_both_regions():
    """White matter alone would be best at 0.3 or 0.2, cortex alone at 0.3 or above; 0.3 serves both."""
    white_matter = [(0.3, 1), (0.2, 1), (0.1, 0), (0.0, 0)]
    cortex = [(0.3, 1), (0.2, 0), (0.2, 0), (0.0, 0)]
    assert tuned_threshold(scored(white_matter, cortex), "ensemble") == pytest.approx(0.3)
    assert tuned_threshold(scored(white_matter, white_matter), "ensemble") == pytest.approx(0.2)


def test_of_equally_good_thresholds_the_nearest_to_a_half():
    """0.8, 0.6 and 0.4 have 2/3 each; 0.6 and 0.4 are as near."""
    pairs = [(0.8, 1), (0.6, 1), (0.4, 1), (0.4, 0), (0.2, 0), (0.6, 0)]
    assert tuned_threshold(scored(pairs, [(0.0, 0)] * 6), "ensemble") == pytest.approx(0.6)
    assert tuned_threshold(scored([(0.9, 1), (0.0, 0)], [(0.7, 1), (0.0, 0)]), "ensemble") == pytest.approx(0.7)


def test_a_region_with_one_class_does_not_tune():
    pairs = [(0.3, 1), (0.1, 0)]
    assert tuned_threshold(scored(pairs, [(0.9, 0), (0.9, 0)]), "ensemble") == pytest.approx(0.3)
    assert tuned_threshold(scored([(0.3, 1), (0.1, 1)], [(0.9, 0), (0.9, 0)]), "ensemble") == 0.5
    assert tuned_threshold(scored([(0.0, 1), (0.0, 0)], [(0.0, 1), (0.0, 0)]), "ensemble") == 0.5


def test_the_tuned_threshold_stands_in_the_table(make, validation):
    table = make(TUNED)
    threshold = tuned_threshold(validation, "ensemble")
    assert table.loc[pd.IndexSlice[:, "net2"], "threshold"].tolist() == [threshold] * 2


def test_without_positive_patients_recall_is_empty(make, tested):
    row = make(HALF, tested.assign(true_cerebral_cortex=0)).loc[("cerebral_cortex", "net2")]
    assert row["n_positive"] == 0
    assert row[["balanced_accuracy", "recall", "recall_lo", "balanced_accuracy_difference"]].isna().all()
    assert row["precision"] == 0
