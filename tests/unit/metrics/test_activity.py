import time

import numpy as np
import pytest
from sklearn import metrics

from msdiff.metrics import activity

RNG = np.random.default_rng(11)
PATIENTS = 60
TRUTH = RNG.random(PATIENTS) < 0.4
# Shares of twenty draws: many patients have the same.
SCORE = RNG.binomial(20, np.where(TRUTH, 0.5, 0.35)) / 20
WEIGHTS = RNG.multinomial(PATIENTS, np.full(PATIENTS, 1 / PATIENTS), size=40).astype(float)
LABELS = RNG.random((5, PATIENTS)) < 0.3


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (activity.average_precision_of, metrics.average_precision_score),
        (activity.roc_auc_of, metrics.roc_auc_score),
    ],
)
def test_ranks_of_resamples_agree_with_scikit_learn(ours, theirs):
    found = ours(activity.counts_by_score(TRUTH, SCORE, WEIGHTS))
    np.testing.assert_allclose(found, [theirs(TRUTH, SCORE, sample_weight=weights) for weights in WEIGHTS])
    # A resample is a list of patients, too.
    repeated = [np.repeat(np.arange(PATIENTS), weights.astype(int)) for weights in WEIGHTS]
    np.testing.assert_allclose(found, [theirs(TRUTH[patients], SCORE[patients]) for patients in repeated])


def test_ranks_of_the_patients_are_those_of_weights_of_one():
    counts = activity.counts_by_score(TRUTH, SCORE, np.ones((1, PATIENTS)))
    assert activity.average_precision_of(counts)[0] == pytest.approx(activity.average_precision(TRUTH, SCORE))
    assert activity.roc_auc_of(counts)[0] == pytest.approx(activity.roc_auc(TRUTH, SCORE))


def test_ranks_by_hand():
    """Scores .9 (active), .5 (active), .5 (not), .1 (not): one tie of one pair."""
    truth, score = np.array([True, True, False, False]), np.array([0.9, 0.5, 0.5, 0.1])
    assert activity.roc_auc(truth, score) == 3.5 / 4
    assert activity.average_precision(truth, score) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


@pytest.mark.parametrize("truth", [np.zeros(4, bool), np.ones(4, bool), np.zeros(0, bool)])
def test_with_one_class_there_is_no_rank(truth):
    score = np.linspace(0, 1, len(truth))
    assert np.isnan(activity.average_precision(truth, score))
    assert np.isnan(activity.roc_auc(truth, score))
    if len(truth):
        counts = activity.counts_by_score(truth, score, np.ones((2, len(truth))))
        assert np.isnan(activity.average_precision_of(counts)).all()
        assert np.isnan(activity.roc_auc_of(counts)).all()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (activity.balanced_accuracy, metrics.balanced_accuracy_score),
        (activity.precision, metrics.precision_score),
        (activity.recall, metrics.recall_score),
        (activity.f1, metrics.f1_score),
    ],
)
def test_labels_agree_with_scikit_learn(ours, theirs):
    found = ours(activity.label_counts(TRUTH, LABELS, WEIGHTS))
    expected = [[theirs(TRUTH, labels, sample_weight=weights) for labels in LABELS] for weights in WEIGHTS]
    np.testing.assert_allclose(found, expected)


def test_a_ratio_without_a_denominator_is_missing():
    """Nobody predicted: no precision. Nobody positive: no recall, no balanced accuracy, and F1 only if predicted."""
    one, nobody = np.ones((1, 3)), np.zeros(3, bool)
    counts = activity.label_counts(np.array([True, False, False]), nobody[None], one)
    assert np.isnan(activity.precision(counts)).all()
    assert activity.f1(counts)[0, 0] == activity.recall(counts)[0, 0] == 0
    counts = activity.label_counts(nobody, np.array([[True, False, False], nobody]), one)
    assert np.isnan(activity.recall(counts)).all()
    assert np.isnan(activity.balanced_accuracy(counts)).all()
    assert activity.f1(counts)[0, 0] == 0
    assert np.isnan(activity.f1(counts)[0, 1])


def test_the_mean_squared_error_is_the_brier_score():
    errors = activity.squared_error(TRUTH, SCORE)
    assert errors.mean() == pytest.approx(metrics.brier_score_loss(TRUTH, SCORE))
    assert errors.shape == (PATIENTS,)


def test_every_share_of_draws_has_its_bin():
    """0.6 = 12 / 20 lies above the edge 0.6, whichever way either was rounded."""
    edges = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    bins = activity.bin_of(np.arange(21) / 20, edges)
    assert bins.tolist() == [min(draws // 4, 4) for draws in range(21)]
    single = activity.bin_of((np.arange(21) / 20).astype(np.float32), edges)
    np.testing.assert_array_equal(single, bins)


def test_ten_thousands_of_resamples_take_less_than_some_seconds():
    weights = np.random.default_rng(0).multinomial(214, np.full(214, 1 / 214), size=20000).astype(float)
    truth, score = np.arange(214) % 3 == 0, (np.arange(214) % 21) / 20
    start = time.process_time()
    counts = activity.counts_by_score(truth, score, weights)
    found = activity.roc_auc_of(counts), activity.average_precision_of(counts)
    assert time.process_time() - start < 3
    assert all(len(values) == 20000 for values in found)
