"""Known answers for each rule, and a second implementation by plain loops over voxels."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from msdiff.metrics.lesion import Components, components, shared_voxels
from msdiff.metrics.msseg2 import DetectionCounts, Detections, Thresholds, detections, marks

MSSEG2 = Thresholds(alpha=0.10, beta=0.70, gamma=0.65, min_lesion_volume_mm3=3.0)
ANY_SIZE = MSSEG2._replace(min_lesion_volume_mm3=0.0)
MASKS = arrays(bool, (3, 6, 6), elements=st.integers(0, 3).map(lambda value: value == 0))


def row(*spans: tuple[int, int], length: int = 60) -> np.ndarray:
    """A slice of one line with the spans [start, stop) set."""
    mask = np.zeros((1, length), dtype=bool)
    for start, stop in spans:
        mask[0, start:stop] = True
    return mask


def lesions(mask: np.ndarray) -> Components:
    return components(mask, 8 if mask.ndim == 2 else 26, 0, 1)


def detect(true: np.ndarray, predicted: np.ndarray, thresholds: Thresholds = ANY_SIZE) -> Detections:
    a, b = lesions(true), lesions(predicted)
    return detections(a, b, shared_voxels(a, b), 1.0, thresholds)


def found(true: np.ndarray, predicted: np.ndarray, thresholds: Thresholds = ANY_SIZE) -> tuple[list, list]:
    result = detect(true, predicted, thresholds)
    return result.true_detected.tolist(), result.predicted_true.tolist()


def test_alpha_a_lesion_must_be_covered_by_more_than_a_tenth():
    assert found(row((0, 20)), row((0, 2)))[0] == [False]
    assert found(row((0, 20)), row((0, 3)))[0] == [True]
    # Three in thirty is a tenth, however it is rounded.
    assert found(row((0, 30)), row((0, 3)))[0] == [False]


def test_alpha_predictions_cover_together():
    assert found(row((0, 30)), row((0, 2), (4, 6)))[0] == [True]


def test_a_prediction_of_a_small_part_of_a_lesion_is_not_true():
    """The rules hold with the masks exchanged: nine tenths of the lesion lie outside the prediction."""
    assert found(row((0, 30)), row((0, 4))) == ([True], [False])
    assert found(row((0, 30)), row((0, 9))) == ([True], [True])


def test_beta_a_prediction_may_lie_outside_by_seven_tenths():
    assert found(row((0, 3)), row((0, 10))) == ([True], [True])
    assert found(row((0, 3)), row((0, 11))) == ([False], [True])


def test_beta_outside_is_outside_every_lesion():
    """A prediction that welds two lesions detects both: what lies on the other one is not outside."""
    assert found(row((0, 10), (12, 22)), row((0, 22))) == ([True, True], [True])


def test_gamma_only_the_regions_that_share_most_are_looked_at():
    # The lesion shares 7 with a prediction inside it and 3 with one that lies outside by 27 of 30.
    true, predicted = row((0, 11)), row((0, 7), (8, 38))
    assert found(true, predicted)[0] == [True]
    # The first holds seven tenths of the overlap: as soon as more is asked for, the second is looked at.
    assert found(true, predicted, ANY_SIZE._replace(gamma=0.70))[0] == [True]
    assert found(true, predicted, ANY_SIZE._replace(gamma=0.71))[0] == [False]


def test_gamma_the_order_is_by_what_is_shared():
    # The one that lies outside now shares more: it is looked at first, and the lesion is missed.
    assert found(row((0, 11)), row((0, 3), (4, 40)))[0] == [False]


def test_gamma_equal_regions_are_taken_the_one_outside_first():
    """Shares of 4, 3 and 3: two of three hold 0.7 of the overlap, and either of the equal ones may be the second."""
    inside, outside = row((0, 3), (4, 8), (9, 12)), row((0, 3), (4, 8), (9, 50))
    true = row((0, 12))
    assert found(true, inside)[0] == [True]
    assert found(true, outside)[0] == [False]
    assert found(true[:, ::-1], outside[:, ::-1])[0] == [False]


def test_a_lesion_of_just_the_minimum_volume_does_not_count():
    """The program keeps what is strictly larger than 3 mm3."""
    result = detect(row((0, 3), (10, 14)), row((0, 3), (10, 14), (20, 23)), MSSEG2)
    assert result.true_counted.tolist() == [False, True]
    assert result.predicted_counted.tolist() == [False, True, False]
    assert result.true_detected.tolist() == [False, True]
    assert result.predicted_true.tolist() == [False, True, False]
    assert result.counts == DetectionCounts(true_lesions=1, detected=1, predictions=1, true_predictions=1)


def test_the_minimum_is_compared_in_whole_voxels():
    a = lesions(row((0, 3), (10, 14)))
    result = detections(a, a, shared_voxels(a, a), 0.1, MSSEG2._replace(min_lesion_volume_mm3=0.3))
    assert result.true_counted.tolist() == [False, True]


def test_what_lies_on_a_lesion_too_small_to_count_lies_outside():
    # Nine of the twelve voxels lie on small lesions, which are background.
    true, predicted = row((0, 3), (4, 7), (8, 11), (12, 16)), row((0, 16))
    assert found(true, predicted, MSSEG2) == ([False, False, False, False], [True])
    assert found(true, predicted) == ([True] * 4, [True])


@pytest.mark.parametrize(("true", "predicted"), [(row(), row()), (row(), row((3, 9))), (row((3, 9)), row())])
def test_empty_masks(true, predicted):
    result = detect(true, predicted)
    assert not result.true_detected.any()
    assert not result.predicted_true.any()
    assert (result.true_counted.sum(), result.predicted_counted.sum()) == (true.any(), predicted.any())


def test_marks_by_hand():
    """Three of four true lesions by two of five predictions: SensL 0.75, PPVL 0.4, F1L 0.6 / 1.15."""
    counts = DetectionCounts(true_lesions=4, detected=3, predictions=5, true_predictions=2)
    assert marks(counts, math.nan) == pytest.approx((0.75, 0.4, 0.6 / 1.15))
    assert marks(DetectionCounts(4, 0, 5, 0), math.nan) == (0, 0, 0)


def test_marks_of_empty_sides():
    assert marks(DetectionCounts(0, 0, 0, 0), -1.0) == (-1, -1, -1)
    assert marks(DetectionCounts(4, 0, 0, 0), -1.0) == (0, -1, 0)
    assert marks(DetectionCounts(0, 0, 5, 0), -1.0) == (-1, 0, 0)


def by_loops(lesion_labels, region_labels, n_lesions, n_regions, thresholds):
    """The rules read one by one, on sets of voxels and whole numbers in place of ratios."""
    alpha, beta, gamma = (round(1000 * value) for value in thresholds[:3])
    lesion = [{tuple(v) for v in np.argwhere(lesion_labels == i + 1)} for i in range(n_lesions)]
    region = [{tuple(v) for v in np.argwhere(region_labels == j + 1)} for j in range(n_regions)]
    kept_lesions = [i for i in range(n_lesions) if len(lesion[i]) > thresholds.min_lesion_volume_mm3]
    kept_regions = [j for j in range(n_regions) if len(region[j]) > thresholds.min_lesion_volume_mm3]
    anywhere = set().union(*(lesion[i] for i in kept_lesions))
    answer = [False] * n_lesions
    for i in kept_lesions:
        touching = [(len(lesion[i] & region[j]), j) for j in kept_regions if lesion[i] & region[j]]
        covered = sum(count for count, _ in touching)
        if not 1000 * covered > alpha * len(lesion[i]):
            continue
        share = {j: len(region[j] - anywhere) / len(region[j]) for _, j in touching}
        held, detected = 0, True
        for count, j in sorted(touching, key=lambda entry: (-entry[0], -share[entry[1]])):
            if 1000 * held >= gamma * covered:
                break
            if 1000 * len(region[j] - anywhere) > beta * len(region[j]):
                detected = False
            held += count
        answer[i] = detected
    return answer


@settings(deadline=None, max_examples=60)
@given(
    true=MASKS,
    predicted=MASKS,
    alpha=st.sampled_from([0.1, 0.25, 0.5]),
    beta=st.sampled_from([0.25, 0.5, 0.7]),
    gamma=st.sampled_from([0.3, 0.5, 0.65, 0.8]),
    smallest=st.integers(0, 3),
)
def test_agrees_with_plain_loops(true, predicted, alpha, beta, gamma, smallest):
    thresholds = Thresholds(alpha, beta, gamma, float(smallest))
    # Faces join: random masks fall into more lesions.
    a, b = components(true, 6, 0, 1), components(predicted, 6, 0, 1)
    result = detections(a, b, shared_voxels(a, b), 1.0, thresholds)
    assert result.true_detected.tolist() == by_loops(a.labels, b.labels, a.n, b.n, thresholds)
    assert result.predicted_true.tolist() == by_loops(b.labels, a.labels, b.n, a.n, thresholds)


@settings(deadline=None, max_examples=40)
@given(true=MASKS, predicted=MASKS, seed=st.integers(0, 1000))
def test_the_order_of_lesions_changes_nothing(true, predicted, seed):
    a, b = components(true, 6, 0, 1), components(predicted, 6, 0, 1)
    shared = shared_voxels(a, b)
    rng = np.random.default_rng(seed)
    rows, columns = rng.permutation(a.n), rng.permutation(b.n)
    before = detections(a, b, shared, 1.0, ANY_SIZE)
    # Only numbers of voxels are asked for; the labels stay.
    permuted = a._replace(voxels=a.voxels[rows]), b._replace(voxels=b.voxels[columns])
    after = detections(*permuted, shared[rows][:, columns], 1.0, ANY_SIZE)
    np.testing.assert_array_equal(after.true_detected, before.true_detected[rows])
    np.testing.assert_array_equal(after.predicted_true, before.predicted_true[columns])


@settings(deadline=None, max_examples=20)
@given(true=MASKS)
def test_a_perfect_prediction_is_perfect(true):
    result = detect(true, true)
    assert result.true_detected.all()
    assert result.predicted_true.all()
