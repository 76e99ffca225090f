import numpy as np
import pytest

from msdiff.metrics.agreement import agreement

LEVELS = (1, 2, 3, 4, 5)


def kappa(first, second):
    """Quadratic kappa from its definition: squared differences, observed over expected by chance."""
    observed = np.mean((first - second) ** 2)
    expected = np.mean((first[:, None] - second[None, :]) ** 2)
    return 1 - observed / expected


def ordinal_alpha(scores):
    """Krippendorff's alpha from its definition (2011, section D): pairs within cases over pairs at large."""
    units = [column[~np.isnan(column)] for column in scores.T]
    units = [unit for unit in units if len(unit) > 1]
    pool = np.concatenate(units)
    counts = {level: int((pool == level).sum()) for level in LEVELS}

    def delta(one, other):
        low, high = sorted((one, other))
        between = sum(counts[level] for level in LEVELS if low <= level <= high)
        return (between - (counts[low] + counts[high]) / 2) ** 2

    observed = sum(sum(delta(a, b) for a in unit for b in unit) / (len(unit) - 1) for unit in units) / len(pool)
    expected = sum(delta(a, b) for a in pool for b in pool) / (len(pool) * (len(pool) - 1))
    return 1 - observed / expected


def test_two_readers_have_the_quadratic_kappa():
    first, second = np.random.default_rng(0).integers(1, 6, (2, 30)).astype(float)
    second = np.where(np.arange(30) < 20, first, second)
    assert agreement(np.stack([first, second]), LEVELS) == pytest.approx(kappa(first, second))


def test_cases_that_one_reader_left_out_do_not_count():
    first = np.array([1, 2, 3, 4, 5, 3, np.nan])
    second = np.array([1, 3, 3, 5, 5, np.nan, 2])
    assert agreement(np.stack([first, second]), LEVELS) == pytest.approx(kappa(first[:5], second[:5]))


def test_more_readers_have_the_ordinal_alpha():
    rng = np.random.default_rng(1)
    truth = rng.integers(1, 6, 25)
    scores = np.clip(truth + rng.integers(-1, 2, (4, 25)), 1, 5).astype(float)
    scores[rng.random(scores.shape) < 0.2] = np.nan
    assert agreement(scores, LEVELS) == pytest.approx(ordinal_alpha(scores))
    assert 0.3 < agreement(scores, LEVELS) < 1


@pytest.mark.parametrize("readers", [2, 3])
def test_readers_who_always_agree_have_one(readers):
    assert agreement(np.tile(np.array([1.0, 4.0, 5.0]), (readers, 1)), LEVELS) == pytest.approx(1)


@pytest.mark.parametrize(
    "scores",
    [
        [[1, 2, 3]],
        [[1, np.nan], [np.nan, 2]],
        [[4, 4, 4], [4, 4, 4]],
        [[4, 4], [4, 4], [4, np.nan]],
    ],
    ids=["one reader", "no case in common", "two readers, one score", "three readers, one score"],
)
def test_where_it_is_undefined_there_is_none(scores):
    assert np.isnan(agreement(np.array(scores, dtype=float), LEVELS))
