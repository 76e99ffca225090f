import numpy as np

from msdiff.tables.estimates import estimate

VALUES = np.random.default_rng(3).normal(size=30)


def width(settings):
    row = estimate("dice", VALUES, settings)
    return row["dice_hi"] - row["dice_lo"]


def test_an_estimate_lies_in_its_interval(table_settings):
    row = estimate("dice", VALUES, table_settings)
    assert row["dice_lo"] < row["dice"] < row["dice_hi"]
    assert row["dice"] == VALUES.mean()


def test_the_protocols_smaller_resamples_widen_it(table_settings):
    """Kelly et al. (2024) drew 10 of their 30 patients: by the square root of 3."""
    ten = table_settings.model_copy(update={"patients_per_resample": 10})
    assert width(ten) > 1.4 * width(table_settings)
    assert width(table_settings.model_copy(update={"patients_per_resample": 30})) == width(table_settings)
