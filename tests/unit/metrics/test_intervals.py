import math

import numpy as np
import pytest
from scipy import stats

from msdiff.metrics.intervals import (
    bootstrap,
    clopper_pearson,
    holm,
    mean,
    over_seeds,
    paired_bootstrap,
    percentile_interval,
    pooled,
    resampling_weights,
    wilcoxon_paired,
)

PRECISION = pooled(lambda correct, wrong: correct / (correct + wrong) if correct + wrong else math.nan)


def test_agrees_with_scipy():
    values = np.random.default_rng(1).gamma(2, size=30)
    ours = bootstrap(values, mean, 4000, 0.95, np.random.default_rng(2))
    theirs = stats.bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=3).confidence_interval
    assert ours.estimate == pytest.approx(values.mean())
    assert (ours.lo, ours.hi) == pytest.approx((theirs.low, theirs.high), abs=0.03)


def test_pooled_counts_agree_with_scipy():
    counts = np.random.default_rng(4).poisson((3, 5), (40, 2)).astype(float)
    ours = bootstrap(counts, PRECISION, 4000, 0.9, np.random.default_rng(2))
    theirs = stats.bootstrap(
        (counts[:, 0], counts[:, 1]),
        lambda a, b, axis=-1: a.sum(axis) / (a + b).sum(axis),
        paired=True,
        confidence_level=0.9,
        n_resamples=4000,
        method="percentile",
        rng=3,
    ).confidence_interval
    assert ours.estimate == pytest.approx(counts[:, 0].sum() / counts.sum())
    assert (ours.lo, ours.hi) == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(5)
    inside = 0
    for _ in range(200):
        interval = bootstrap(rng.normal(1, 1, 40), mean, 200, 0.9, rng)
        inside += interval.lo <= 1 <= interval.hi
    assert 0.82 <= inside / 200 <= 0.96


def test_fewer_patients_per_resample_widen_the_interval():
    values = np.random.default_rng(6).normal(size=30)
    full = bootstrap(values, mean, 500, 0.95, np.random.default_rng(0))
    ten = bootstrap(values, mean, 500, 0.95, np.random.default_rng(0), patients_per_resample=10)
    assert ten.hi - ten.lo > 1.3 * (full.hi - full.lo)
    nothing = np.zeros(30)
    of_ten = paired_bootstrap(values, nothing, mean, 500, 0.95, np.random.default_rng(0), patients_per_resample=10)
    assert (of_ten.lo, of_ten.hi) == (ten.lo, ten.hi)


@pytest.mark.parametrize("size", [None, 10])
def test_weights_are_the_resamples_of_the_bootstrap(size):
    """A statistic of weights has the interval of the same statistic on each resample in turn."""
    values = np.random.default_rng(6).normal(size=30)
    by_one = bootstrap(values, mean, 300, 0.95, np.random.default_rng(0), patients_per_resample=size)
    weights = resampling_weights(30, 300, np.random.default_rng(0), patients_per_resample=size)
    assert (weights.sum(axis=1) == (size or 30)).all()
    at_once = percentile_interval(values.mean(), weights @ values / weights.sum(axis=1), 0.95)
    assert at_once == pytest.approx(by_one)


def test_one_patient_has_no_resamples():
    weights = resampling_weights(1, 300, np.random.default_rng(0))
    assert weights.shape == (0, 1)
    interval = percentile_interval(0.5, weights @ [0.5], 0.95)
    assert interval.estimate == 0.5
    assert math.isnan(interval.lo)


def test_a_seed_decides_the_interval():
    values = np.arange(10.0)
    one, two = (bootstrap(values, mean, 50, 0.95, np.random.default_rng([7])) for _ in range(2))
    assert one == two


def test_without_values_there_is_no_interval():
    for values in (np.array([]), np.full(4, np.nan)):
        assert all(math.isnan(number) for number in bootstrap(values, mean, 20, 0.95, np.random.default_rng(0)))


def test_one_patient_has_no_interval():
    """Its resamples are all itself: limits of no width would let any two rows stand apart."""
    rng = np.random.default_rng(0)
    for values, statistic in (
        (np.array([0.5]), mean),
        (np.array([np.nan, 0.5]), mean),
        (np.array([[1.0, 1.0]]), PRECISION),
    ):
        interval = bootstrap(values, statistic, 50, 0.95, rng)
        assert interval.estimate == 0.5
        assert math.isnan(interval.lo)
        assert math.isnan(interval.hi)
    difference = paired_bootstrap(np.array([0.5]), np.array([0.25]), mean, 50, 0.95, rng)
    assert difference.estimate == 0.25
    assert math.isnan(difference.lo)


def test_undefined_resamples_are_left_out():
    counts = np.array([[0.0, 0.0], [1.0, 1.0]])
    interval = bootstrap(counts, PRECISION, 100, 0.95, np.random.default_rng(0))
    assert interval == (0.5, 0.5, 0.5)


def test_a_paired_difference_is_narrower_than_two_unpaired():
    rng = np.random.default_rng(8)
    patient = rng.normal(0, 5, 30)
    first, second = patient + 1 + rng.normal(0, 0.1, 30), patient
    difference = paired_bootstrap(first, second, mean, 500, 0.95, rng)
    assert difference.estimate == pytest.approx((first - second).mean())
    assert 0.9 < difference.lo < difference.hi < 1.1
    with pytest.raises(ValueError, match="same patients"):
        paired_bootstrap(first, second[1:], mean, 10, 0.95, rng)


def test_seeds_are_averaged_per_patient():
    values = np.array([[1.0, np.nan, np.nan], [3.0, 2.0, np.nan]])
    np.testing.assert_array_equal(over_seeds(values), [2.0, 2.0, np.nan])
    assert over_seeds(np.ones((3, 4, 2))).shape == (4, 2)


def test_wilcoxon_agrees_with_scipy():
    rng = np.random.default_rng(9)
    first, second = rng.normal(0.5, 1, 20), rng.normal(0, 1, 20)
    assert wilcoxon_paired(first, second) == pytest.approx(stats.wilcoxon(first, second).pvalue)
    with_gap = np.append(first, np.nan), np.append(second, 1.0)
    assert wilcoxon_paired(*with_gap) == wilcoxon_paired(first, second)
    assert wilcoxon_paired(first, first) == 1
    assert wilcoxon_paired(first, first + 1e-15) == 1


def test_holm_by_hand():
    """Holm (1979): the smallest times 3, the next times 2, never below the one before."""
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_clopper_pearson_by_its_definition():
    interval = clopper_pearson(3, 20, 0.95)
    assert stats.binom.sf(2, 20, interval.lo) == pytest.approx(0.025)
    assert stats.binom.cdf(3, 20, interval.hi) == pytest.approx(0.025)
    assert clopper_pearson(0, 5, 0.95).lo == 0
    assert clopper_pearson(0, 0, 0.95)[1:] == (0, 1)
