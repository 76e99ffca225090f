import numpy as np

from msdiff.tables.estimates import difference, estimate

VALUES = np.random.default_rng(3).normal(size=30)


def width(settings):
    row = estimate("dice", VALUES, settings)
    return row["dice_hi"] - row["dice_lo"]


def test_an_estimate_lies_in_its_interval(table_settings):
    row = estimate("dice", VALUES, table_settings)
    assert row["dice_lo"] < row["dice"] < row["dice_hi"]
    assert row["dice"] == round(VALUES.mean(), 12)


def test_the_protocols_smaller_resamples_widen_it(table_settings):
    """Kelly et al. (2024) sampled 10 of their 30 patients: by the square root of 3."""
    ten = table_settings.model_copy(update={"patients_per_resample": 10})
    assert width(ten) > 1.4 * width(table_settings)
    assert width(table_settings.model_copy(update={"patients_per_resample": 30})) == width(table_settings)


def test_what_two_sides_have_in_common_does_not_widen_their_difference(table_settings):
    row = difference("dice", VALUES + 0.25, VALUES, table_settings)
    assert list(row.values()) == [0.25] * 3
    assert list(row) == ["dice", "dice_lo", "dice_hi"]
    other = np.random.default_rng(4).normal(size=30)
    row = difference("dice", VALUES, other, table_settings)
    assert row["dice"] == round(VALUES.mean() - other.mean(), 12)
    assert row["dice_lo"] < row["dice"] < row["dice_hi"]
