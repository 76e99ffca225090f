import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from msdiff.phantom.activity import count_probabilities, simulate_counts
from msdiff.phantom.settings import PhantomSettings
from msdiff.settings import check


@pytest.mark.parametrize(("share", "mean"), [(0.637, 4.60), (0.249, 0.63), (0.032, 0.07), (0.015, 0.07), (1.0, 16.0)])
def test_mean_and_active_share_are_met_in_expectation(share, mean):
    probability = count_probabilities(share, mean, 0.8, 60)
    assert probability.sum() == pytest.approx(1)
    assert 1 - probability[0] == pytest.approx(share)
    assert probability @ np.arange(61) == pytest.approx(mean)


def test_counts_are_overdispersed_and_zero_inflated():
    probability = count_probabilities(0.637, 4.60, 0.8, 60)
    number = np.arange(61)
    variance = probability @ number**2 - 4.60**2
    assert variance > 3 * 4.60
    assert probability[0] > np.exp(-4.60)


def test_the_future_is_partly_predictable(values):
    settings = check(PhantomSettings, values)
    counts = np.array([simulate_counts(settings, "placebo", np.random.default_rng([1, i])) for i in range(4000)])
    assert 0.70 < roc_auc_score(counts[:, 2] > 0, counts[:, 1]) < 0.80


def test_active_patients_follow_the_conditional_distribution(values):
    values["active_only"] = True
    settings = check(PhantomSettings, values)
    counts = np.array([simulate_counts(settings, "high_efficacy", np.random.default_rng([1, i])) for i in range(2000)])
    assert counts[:, 1].min() == 1
    probability = count_probabilities(0.032, 0.07, 0.8, 60)
    mean = 0.07 / 0.032
    spread = np.sqrt(probability @ np.arange(61) ** 2 / 0.032 - mean**2)
    assert abs(counts[:, 1].mean() - mean) < 4 * spread / np.sqrt(2000)


def test_without_persistence_counts_are_unrelated(values):
    values["lesions"]["persistence"] = 0.0
    settings = check(PhantomSettings, values)
    counts = np.array([simulate_counts(settings, "placebo", np.random.default_rng([1, i])) for i in range(4000)])
    assert abs(np.corrcoef(counts[:, 1] > 0, counts[:, 2] > 0)[0, 1]) < 4 / np.sqrt(4000)
