import numpy as np
import pandas as pd
import pytest
from indexed import open_slabs

from msdiff.errors import BadInput, BadSettings
from msdiff.forecasting.judging import CalibrationSettings, MonteCarloSettings, RegionalSettings
from msdiff.settings import check
from msdiff.tables.forecasts import (
    by_own_arm,
    mean_of_runs,
    monte_carlo,
    patients_by_arm,
    read_forecasts,
    read_own_forecasts,
    read_voxels,
    training_patients,
)


def test_training_patients_are_those_of_the_split(slabs_folder):
    training = training_patients(open_slabs(slabs_folder))
    assert len(training) == 120
    assert set(training["split"]) == {"train"}


def test_only_forecasts_under_the_own_arm_are_judged(every_arm, scores_folder):
    folder = scores_folder("counterfactuals", every_arm)
    assert len(read_forecasts(folder)) == 180
    own = read_own_forecasts(folder)
    assert len(own) == 60
    assert (own["arm"] == own["own_arm"]).all()
    assert own["subject"].is_monotonic_increasing


def test_scores_without_patients_or_truth_are_refused(tested, scores_folder):
    with pytest.raises(BadInput, match="at least one patient"):
        read_forecasts(scores_folder("empty", tested.head(0)))
    with pytest.raises(BadInput, match="with the truth"):
        read_own_forecasts(scores_folder("blind", tested.assign(true_count=None)))
    with pytest.raises(BadInput, match="missing columns true_active;"):
        read_forecasts(scores_folder("short", tested.drop(columns="true_active")))
    with pytest.raises(BadInput, match="tab-separated"):
        read_voxels(scores_folder("without", tested))


def test_arms_stand_in_their_order_then_all():
    groups = dict(patients_by_arm(pd.Series(["b", "a", "b"]), ["a", "c", "b"]))
    assert list(groups) == ["a", "c", "b", "all"]
    assert [places.tolist() for places in groups.values()] == [[1], [], [0, 2], [0, 1, 2]]


def test_each_patient_has_his_own_arms_mean():
    of_training = pd.Series([1.0, 0.0, 1.0, 4.0], index=["a", "a", "b", "b"])
    assert by_own_arm(pd.Series(["b", "a", "b"]), of_training).tolist() == [2.5, 0.5, 2.5]
    with pytest.raises(BadInput, match="arm c"):
        by_own_arm(pd.Series(["a", "c"]), of_training)


def test_outcomes_are_sampled_with_their_probability():
    probability = np.array([0.0, 0.1, 0.6, 1.0])
    outcomes = monte_carlo(probability, MonteCarloSettings(runs=4000, seed=3))
    assert outcomes.shape == (4000, 4)
    spread = np.sqrt(probability * (1 - probability) / 4000)
    assert (np.abs(outcomes.mean(axis=0) - probability) <= 4 * spread).all()
    again, other = (monte_carlo(probability, MonteCarloSettings(runs=4000, seed=3), stream) for stream in (0, 1))
    np.testing.assert_array_equal(outcomes, again)
    assert not np.array_equal(outcomes, other)


def test_runs_without_a_value_are_left_out():
    values = np.array([[0.2, np.nan, 0.4], [np.nan, np.nan, np.nan]])
    np.testing.assert_allclose(mean_of_runs(values), [0.3, np.nan])


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (RegionalSettings, {"predict": "ensemble", "threshold": "best"}, "threshold"),
        (RegionalSettings, {"predict": "ensemble", "threshold": 0}, "threshold"),
        (RegionalSettings, {"predict": "oracle", "threshold": 0.5}, "predict"),
        (MonteCarloSettings, {"runs": 0, "seed": 0}, "runs"),
        (CalibrationSettings, {"edges": [0.0, 0.5, 0.5, 1.0]}, "ascending"),
        (CalibrationSettings, {"edges": [0.1, 1.0]}, "from 0 to 1"),
    ],
)
def test_impossible_settings_are_refused(kind, values, message):
    with pytest.raises(BadSettings, match=message):
        check(kind, values)
