import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays
from sklearn.metrics import confusion_matrix, f1_score

from msdiff.metrics.voxel import Confusion, confusion, dice, expected_cost, precision, recall

MASKS = arrays(bool, (4, 5))


def test_counts_of_a_hand_made_case():
    true = np.array([1, 1, 1, 0, 0, 0], dtype=bool)
    predicted = np.array([1, 0, 0, 1, 0, 0], dtype=bool)
    counts = confusion(true, predicted)
    assert counts == Confusion(tp=1, fp=1, fn=2, tn=2)
    assert dice(counts, empty=math.nan) == pytest.approx(2 / 5)
    assert precision(counts, empty=math.nan) == pytest.approx(1 / 2)
    assert recall(counts, empty=math.nan) == pytest.approx(1 / 3)


def test_only_voxels_within_count():
    true, predicted = np.ones(4, dtype=bool), np.zeros(4, dtype=bool)
    assert confusion(true, predicted, np.array([1, 0, 0, 0], dtype=bool)) == Confusion(0, 0, 1, 0)


def test_masks_of_two_shapes_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        confusion(np.ones(3, dtype=bool), np.ones(4, dtype=bool))


@given(MASKS, MASKS)
def test_agrees_with_scikit_learn(true, predicted):
    counts = confusion(true, predicted)
    (tn, fp), (fn, tp) = confusion_matrix(true.ravel(), predicted.ravel(), labels=[False, True])
    assert counts == (tp, fp, fn, tn)
    assert dice(counts, empty=1.0) == pytest.approx(f1_score(true.ravel(), predicted.ravel(), zero_division=1.0))


@pytest.mark.parametrize("ratio", [dice, precision, recall])
def test_empty_masks_follow_the_policy(ratio):
    counts = confusion(np.zeros(3, dtype=bool), np.zeros(3, dtype=bool))
    assert ratio(counts, empty=1.0) == 1.0
    assert math.isnan(ratio(counts, empty=math.nan))


KELLY = {"cost_false_positive": 10, "cost_false_negative": 1, "prior_negative": 0.99, "prior_positive": 0.01}


def test_expected_cost_of_the_protocol_weighs_a_false_positive_990_times():
    counts = Confusion(tp=3, fp=1, fn=1, tn=99)
    assert expected_cost(counts, **KELLY, empty=math.nan) == pytest.approx(990 * 0.01 + 0.25)


def test_expected_cost_of_constant_answers():
    nothing, everything = Confusion(0, 0, 5, 95), Confusion(5, 95, 0, 0)
    assert expected_cost(nothing, **KELLY, empty=math.nan) == 1  # the better constant where false positives are dear
    cheap = {**KELLY, "cost_false_positive": 1, "cost_false_negative": 1000}
    assert expected_cost(everything, **cheap, empty=math.nan) == 1
    assert math.isnan(expected_cost(Confusion(0, 0, 0, 9), **KELLY, empty=math.nan))
