import numpy as np
import pandas as pd
import pytest

from msdiff.privacy.thresholds import level_weights, reference_threshold, weighted_percentile


@pytest.mark.parametrize("percentile", [1, 37.5, 50, 99, 100])
def test_weighted_percentile_is_that_of_repeated_values(percentile):
    rng = np.random.default_rng(0)
    values, times = rng.normal(size=40), rng.integers(0, 5, 40)
    repeated = np.percentile(np.repeat(values, times), percentile, method="inverted_cdf")
    assert weighted_percentile(values, times.astype(float), percentile) == repeated


def test_levels_are_weighted_as_the_samples_lie():
    levels, wanted = np.array([0, 0, 0, 1, 2]), np.array([0, 1, 1, 1, 5])
    np.testing.assert_allclose(level_weights(levels, wanted), [1 / 3, 1 / 3, 1 / 3, 3, 0])


def test_a_level_without_samples_does_not_count():
    # At level 0 all heads are alike, and nothing was sampled there.
    similarities, levels = np.array([0.99, 0.98, 0.5, 0.6]), np.array([0, 0, 1, 1])
    assert reference_threshold(similarities, levels, np.array([1, 1, 1]), 99) == 0.6
    assert np.isnan(reference_threshold(similarities, levels, np.array([2]), 99))


def test_a_resample_counts_slices_as_often_as_chosen():
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"similarity": rng.random(60), "level": rng.integers(0, 3, 60)})
    times, wanted = rng.integers(0, 3, 60), rng.integers(0, 3, 100)
    repeated = frame.loc[frame.index.repeat(times)]
    resampled = reference_threshold(repeated["similarity"].to_numpy(), repeated["level"].to_numpy(), wanted, 90)
    weighed = reference_threshold(
        frame["similarity"].to_numpy(), frame["level"].to_numpy(), wanted, 90, times.astype(float)
    )
    assert weighed == resampled
