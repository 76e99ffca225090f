import numpy as np
import pytest
import torch

from msdiff.synthesis.long_ms_diff import conditions
from msdiff.synthesis.plan import scalars_of, training_slices


@pytest.mark.parametrize("unit", ["scan", "slice"])
def test_train_scalars_are_standardised_over_their_unit(stack, unit):
    slices = training_slices(stack)
    statistics = conditions.statistics_of(slices, unit)
    units = slices.drop_duplicates("pair") if unit == "scan" else slices
    scalars = scalars_of(units, unit)
    values = conditions.standardised(scalars, statistics)
    np.testing.assert_allclose(values[:, 1].mean(), 0, atol=1e-6)
    # Less than 1 where n patients differ by less than a log unit over the root of n.
    expected = min(1.0, np.log1p(scalars[:, 1]).std() * len(units) ** 0.5)
    np.testing.assert_allclose(values[:, 1].std(), expected, atol=1e-6)
    assert set(values[:, 2]) <= {0.0, 1.0}


def test_log_and_units_by_hand(stack):
    of_train = {"mean": 1.0, "deviation": 2.0, "smallest": 0.0, "largest": 3.0}
    values = conditions.standardised(
        np.array([[np.e - 1, 0.0, 1.0]]), dict.fromkeys(("change_mm3", "change_count"), of_train)
    )
    np.testing.assert_allclose(values, [[0.0, -0.5, 1.0]], atol=1e-6)


def test_scalars_beyond_training_are_taken_as_its_nearest():
    of_train = {"mean": 1.0, "deviation": 2.0, "smallest": 0.0, "largest": 3.0}
    beyond = np.array([[np.expm1(9.0), np.expm1(3.5), 1.0]])
    values = conditions.standardised(beyond, dict.fromkeys(("change_mm3", "change_count"), of_train))
    np.testing.assert_allclose(values, [[1.0, 1.0, 1.0]], atol=1e-6)


def test_few_patients_who_hardly_differ_stay_close(stack):
    """Two real patients: 5.7 and 6.2 ml, 30 and 25 lesions. The 8 of a third lay 13 of their deviations below."""
    slices = training_slices(stack).iloc[:2].assign(pair=[0, 1])
    slices = slices.assign(scan_change_mm3=[5724.0, 6156.0], scan_change_count=[30, 25])
    statistics = conditions.statistics_of(slices, "scan")
    values = conditions.standardised(np.array([[5724.0, 30, 1], [6156.0, 25, 1], [5076.0, 8, 1]]), statistics)
    assert np.abs(values[:, :2]).max() < 0.2
    np.testing.assert_allclose(values[2, :2], [values[0, 0], values[1, 1]], atol=1e-6)


def test_scalars_fill_planes():
    shown = torch.zeros(2, 1, 4, 5), torch.ones(2, 1, 4, 5), torch.tensor([[1.0, 2, 3], [4, 5, 6]])
    joined = conditions.channels(*shown, given=["baseline", "change_mask", "scalars"])
    assert joined.shape == (2, conditions.CHANNELS, 4, 5)
    assert joined[1, 3].unique().tolist() == [5.0]
    assert joined[0, 1].unique().tolist() == [1.0]
