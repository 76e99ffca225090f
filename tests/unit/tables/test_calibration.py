import numpy as np
import pandas as pd
import pytest
from indexed import open_slabs
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from msdiff.forecasting.judging import CalibrationSettings
from msdiff.metrics.intervals import clopper_pearson
from msdiff.tables.calibration import bin_names, calibration_table, voxel_shares_of

CALIBRATION = CalibrationSettings(edges=(0.0, 0.2, 0.4, 0.6, 0.8, 1.0))
BINS = ["0.0-0.2", "0.2-0.4", "0.4-0.6", "0.6-0.8", "0.8-1.0"]
PROMISED = [
    *("source", "cohort", "quantity", "bin", "n", "n_positive", "n_voxels", "n_positive_voxels", "predicted"),
    *("observed", "brier", "baseline_brier", "brier_difference"),
]


@pytest.fixture
def shares(slabs_folder):
    return voxel_shares_of(open_slabs(slabs_folder))


@pytest.fixture
def table(training, tested, voxels, shares, table_settings):
    return calibration_table(training, tested, voxels, shares, "trials", CALIBRATION, table_settings)


def test_columns_and_rows_are_those_promised(table):
    assert [column for column in table.columns if not column.endswith(("_lo", "_hi"))] == PROMISED
    assert table["quantity"].tolist() == ["activity"] * 6 + ["voxel"] * 6
    assert table["bin"].tolist() == ["all", *BINS] * 2


def test_activity_agrees_with_scikit_learn(table, training, tested):
    truth, probability = tested["true_active"], tested["activity_probability"]
    rows = table[table["quantity"] == "activity"].set_index("bin")
    share = tested["arm"].map((training.set_index("arm")["count"] > 0).groupby(level=0).mean())
    assert rows.loc["all", "brier"] == pytest.approx(brier_score_loss(truth, probability))
    assert rows.loc["all", "baseline_brier"] == pytest.approx(brier_score_loss(truth, share))
    gain = brier_score_loss(truth, probability) - brier_score_loss(truth, share)
    assert rows.loc["all", "brier_difference"] == pytest.approx(gain)
    # Scikit-learn gives an edge to the bin below; no share of twenty draws is 0.001 below one.
    observed, predicted = calibration_curve(truth, (probability + 0.001).clip(upper=1), n_bins=5)
    filled = rows.loc[BINS][rows.loc[BINS, "n"] > 0]
    assert filled["observed"].tolist() == pytest.approx(observed.tolist())
    assert filled["predicted"].tolist() == pytest.approx(predicted.tolist(), abs=0.0011)
    assert filled["n"].sum() == rows.loc["all", "n"] == 60
    assert rows.loc[BINS, "brier"].isna().all()


def test_the_share_of_active_patients_has_its_exact_interval(table):
    row = table[(table["quantity"] == "activity") & (table["bin"] == "0.4-0.6")].iloc[0]
    exact = clopper_pearson(int(row["n_positive"]), int(row["n"]), 0.95)
    assert row[["observed", "observed_lo", "observed_hi"]].tolist() == pytest.approx(list(exact))


def test_a_bin_without_patients_is_empty(training, tested, voxels, shares, table_settings):
    low = tested.assign(activity_probability=0.1)
    table = calibration_table(training, low, voxels, shares, "trials", CALIBRATION, table_settings)
    row = table[(table["quantity"] == "activity") & (table["bin"] == "0.8-1.0")].iloc[0]
    assert (row["n"], row["n_positive"]) == (0, 0)
    assert row["predicted":].isna().all()


def test_voxels_by_hand(table, tested, voxels, shares):
    """Every voxel counts by itself: 90 of probability 0 and 10 of a half in each of 60 patients."""
    rows = table[table["quantity"] == "voxel"].set_index("bin")
    half, zero = (voxels[voxels["probability"] == level]["positive_voxels"] for level in (0.5, 0.0))
    assert rows.loc["0.4-0.6", "observed"] == pytest.approx(half.sum() / 600)
    assert rows.loc["0.4-0.6", ["n", "n_positive", "predicted"]].tolist() == [60, (half > 0).sum(), 0.5]
    assert rows.loc["all", ["n_voxels", "n_positive_voxels"]].tolist() == [6000, half.sum() + zero.sum()]
    assert rows.loc["all", "predicted"] == pytest.approx(0.05)
    assert rows.loc["all", "brier"] == pytest.approx((zero.sum() + 0.25 * 600) / 6000)
    truth = np.concatenate([np.repeat([1, 0], [row[4], row[3] - row[4]]) for row in voxels.itertuples(index=False)])
    arms = np.repeat(voxels["arm"].to_numpy(), voxels["voxels"])
    by_share = brier_score_loss(truth, pd.Series(arms).map(shares.groupby(level=0).mean()))
    assert rows.loc["all", "baseline_brier"] == pytest.approx(by_share)
    assert rows.loc["all", "brier_difference_lo"] > 0
    assert rows.loc["0.8-1.0", "n"] == 0


def test_a_bin_without_lesion_voxels_has_no_interval(training, tested, voxels, shares, table_settings):
    """No resample of zeros is anything but zero, which is no certainty."""
    none = voxels.assign(positive_voxels=voxels["positive_voxels"].where(voxels["probability"] > 0, 0))
    table = calibration_table(training, tested, none, shares, "trials", CALIBRATION, table_settings)
    rows = table[table["quantity"] == "voxel"].set_index("bin")
    assert rows.loc["0.0-0.2", ["n", "n_positive", "observed"]].tolist() == [60, 0, 0]
    assert np.isnan(rows.loc["0.0-0.2", "observed_hi"])
    assert rows.loc["0.4-0.6", "observed_hi"] > rows.loc["0.4-0.6", "observed"]


def test_training_shares_are_those_of_the_brain(shares, patients):
    """A lesion is one of 20 voxels; what lies outside the brain does not count."""
    training = patients[patients["split"] == "train"]
    assert shares.index.tolist() == training["arm"].tolist()
    np.testing.assert_allclose(shares, training["count"] / 20)


def test_bins_are_named_by_their_edges():
    assert bin_names([0.0, 0.05, 0.2, 1.0]) == ["0.0-0.05", "0.05-0.2", "0.2-1.0"]
