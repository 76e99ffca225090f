"""Known answers, and a second implementation by plain loops over the voxels of each pair."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from msdiff.metrics.lesion import (
    MATCHERS,
    Components,
    LesionCounts,
    Matching,
    components,
    lesion_f,
    lesion_precision,
    lesion_recall,
    lesion_rows,
    match_lesions,
    shared_voxels,
)

MASKS = arrays(bool, (3, 6, 6), elements=st.integers(0, 3).map(lambda value: value == 0))


def row(*spans: tuple[int, int], length: int = 40) -> np.ndarray:
    """A slice of one line with the spans [start, stop) set."""
    mask = np.zeros((1, length), dtype=bool)
    for start, stop in spans:
        mask[0, start:stop] = True
    return mask


def lesions(mask: np.ndarray) -> Components:
    return components(mask, 8 if mask.ndim == 2 else 26, 0, 1)


def counts(true: np.ndarray, predicted: np.ndarray, matcher: str = "overlap") -> LesionCounts:
    return match_lesions(lesions(true), lesions(predicted), matcher, 0.6).counts


def test_table_1_of_the_paper_gives_its_derived_columns():
    """Long-MS-Diff (2025), table 1: Correct, FP, FN of the four mixes; F1 and F2 computed from them by hand."""
    for correct, false_positives, false_negatives, f1, f2 in (
        (47, 305, 51, 0.209, 0.316),
        (52, 273, 46, 0.246, 0.363),
        (66, 460, 32, 0.212, 0.359),
        (57, 471, 41, 0.182, 0.310),
    ):
        row = LesionCounts(correct, false_positives, false_negatives)
        assert lesion_f(row, 1, math.nan) == pytest.approx(f1, abs=5e-4)
        assert lesion_f(row, 2, math.nan) == pytest.approx(f2, abs=5e-4)
    assert lesion_precision(row, math.nan) == pytest.approx(0.108, abs=5e-4)
    assert lesion_recall(row, math.nan) == pytest.approx(0.582, abs=5e-4)


def test_ratios_without_lesions_follow_the_policy():
    nothing = LesionCounts(0, 0, 0)
    for value in (lesion_precision(nothing, 1.0), lesion_recall(nothing, 1.0), lesion_f(nothing, 1, 1.0)):
        assert value == 1.0


def test_connectivity_decides_what_one_lesion_is():
    mask = np.zeros((2, 3, 3), dtype=bool)
    mask[0, 0, 0] = mask[0, 1, 1] = mask[1, 2, 2] = True  # an edge, then a corner
    assert [components(mask, connectivity, 0, 1).n for connectivity in (6, 18, 26)] == [3, 2, 1]
    assert [components(mask[0], connectivity, 0, 1).n for connectivity in (4, 8)] == [2, 1]
    with pytest.raises(ValueError, match="connectivity"):
        components(mask, 8, 0, 1)


def test_a_component_of_just_the_minimum_volume_stays():
    mask = row((0, 2), (5, 8), (10, 11))
    kept = components(mask, 8, min_volume_mm3=0.2, voxel_volume_mm3=0.1)
    np.testing.assert_array_equal(kept.voxels, [2, 3])
    np.testing.assert_array_equal(kept.labels, np.where(row((0, 2)), 1, np.where(row((5, 8)), 2, 0)))


def test_several_predictions_of_one_lesion_count_once():
    assert counts(row((0, 10)), row((0, 3), (5, 8))) == LesionCounts(1, 0, 0)


def test_the_whole_prediction_counts_and_sixty_percent_is_enough():
    assert counts(row((0, 6)), row((0, 10))) == LesionCounts(1, 0, 0)
    assert counts(row((0, 6)), row((0, 11))) == LesionCounts(0, 1, 1)


def test_the_box_variant_forgives_what_lies_beyond_the_box():
    assert counts(row((0, 6)), row((0, 30)), "kelly2024_bbox") == LesionCounts(1, 0, 0)


def test_a_prediction_that_welds_two_lesions():
    welded = row((0, 10)), row((12, 22)), row((0, 22))
    assert counts(welded[0] | welded[1], welded[2]) == LesionCounts(0, 1, 2)
    assert counts(welded[0] | welded[1], welded[2], "kelly2024_bbox") == LesionCounts(2, 0, 0)


def test_a_prediction_in_the_box_that_does_not_touch_the_lesion_finds_nothing():
    true = np.ones((5, 5), dtype=bool)
    true[1:, 1:] = False  # an angle, with a second lesion in its box
    true[3:, 3:] = True
    predicted = np.zeros((5, 5), dtype=bool)
    predicted[3:, 3:] = True
    assert counts(true, predicted, "kelly2024_bbox") == LesionCounts(1, 0, 1)


def chained_relabelling(true: np.ndarray, predicted: np.ndarray) -> LesionCounts:
    """The published script's way, for comparison: predictions take over the numbers of true lesions one by one."""
    true_labels, predicted_labels = lesions(true).labels, lesions(predicted).labels.copy()
    found = set()
    for label, box in enumerate(ndimage.find_objects(true_labels), start=1):
        for prediction in np.setdiff1d(predicted_labels[box], [0]):
            part = predicted_labels[box] == prediction
            if (true_labels[box][part] > 0).mean() >= 0.6:
                predicted_labels[predicted_labels == prediction] = label
                found.add(label)
    numbers = set(np.unique(true_labels)) - {0}
    false_positives = set(np.unique(predicted_labels)) - {0} - numbers
    return LesionCounts(len(found), len(false_positives), len(numbers) - len(found))


def test_chained_relabelling_loses_a_false_positive_and_ours_does_not():
    # The first prediction lies on nothing and is number 1; the second lies on true lesion 1 and takes its number.
    true, predicted = row((20, 25)), row((0, 4), (20, 25))
    assert chained_relabelling(true, predicted) == LesionCounts(1, 0, 0)
    for matcher in MATCHERS:
        assert counts(true, predicted, matcher) == LesionCounts(1, 1, 0)


@pytest.mark.parametrize("matcher", MATCHERS)
def test_empty_masks(matcher):
    nothing, one = row(), row((3, 6))
    assert counts(nothing, nothing, matcher) == LesionCounts(0, 0, 0)
    assert counts(nothing, one, matcher) == LesionCounts(0, 1, 0)
    assert counts(one, nothing, matcher) == LesionCounts(0, 0, 1)


def by_loops(true: Components, predicted: Components, matcher: str) -> np.ndarray:
    matches = np.zeros((true.n, predicted.n), dtype=bool)
    for i in range(true.n):
        lesion = np.argwhere(true.labels == i + 1)
        for j in range(predicted.n):
            voxels = [tuple(voxel) for voxel in np.argwhere(predicted.labels == j + 1)]
            if matcher == "kelly2024_bbox":
                lo, hi = lesion.min(axis=0), lesion.max(axis=0)
                voxels = [v for v in voxels if all(a <= x <= b for a, x, b in zip(lo, v, hi, strict=True))]
                on = [v for v in voxels if true.labels[v] > 0]
            else:
                on = [v for v in voxels if true.labels[v] == i + 1]
            touches = any(true.labels[v] == i + 1 for v in voxels)
            matches[i, j] = touches and len(on) * 5 >= 3 * len(voxels)
    return matches


@pytest.mark.parametrize("matcher", MATCHERS)
@settings(deadline=None)
@given(true=MASKS, predicted=MASKS)
def test_agrees_with_plain_loops(matcher, true, predicted):
    a, b = lesions(true), lesions(predicted)
    matching = match_lesions(a, b, matcher, 0.6)
    np.testing.assert_array_equal(matching.matches, by_loops(a, b, matcher))
    assert matching.counts.correct + matching.counts.false_negatives == a.n
    assert a.n == ndimage.label(true, np.ones((3, 3, 3)))[1]


def renumber(lesions: Components, order: np.ndarray) -> Components:
    """The same lesions with lesion `order[i]` as number i + 1."""
    numbers = np.zeros(lesions.n + 1, dtype=np.int32)
    numbers[order + 1] = np.arange(1, lesions.n + 1)
    return Components(numbers[lesions.labels], lesions.voxels[order])


@pytest.mark.parametrize("matcher", MATCHERS)
@settings(deadline=None)
@given(true=MASKS, predicted=MASKS, seed=st.integers(0, 1000))
def test_the_order_of_lesions_changes_nothing(matcher, true, predicted, seed):
    rng = np.random.default_rng(seed)
    a, b = lesions(true), lesions(predicted)
    rows, columns = rng.permutation(a.n), rng.permutation(b.n)
    before = match_lesions(a, b, matcher, 0.6)
    after = match_lesions(renumber(a, rows), renumber(b, columns), matcher, 0.6)
    np.testing.assert_array_equal(after.matches, before.matches[rows][:, columns])
    assert after.counts == before.counts


@given(true=MASKS, predicted=MASKS)
def test_mirrored_masks_have_the_same_counts(true, predicted):
    for matcher in MATCHERS:
        assert counts(true, predicted, matcher) == counts(true[:, ::-1], predicted[:, ::-1], matcher)


def test_shared_voxels_and_rows():
    true, predicted = lesions(row((0, 4), (10, 14))), lesions(row((2, 5), (20, 22)))
    np.testing.assert_array_equal(shared_voxels(true, predicted), [[2, 0], [0, 0]])
    matching = match_lesions(true, predicted, "overlap", 0.6)
    assert isinstance(matching, Matching)
    assert lesion_rows(true, predicted, matching, voxel_volume_mm3=2.0) == [
        ("true", 1, 8.0, True),
        ("true", 2, 8.0, False),
        ("predicted", 1, 6.0, True),
        ("predicted", 2, 4.0, False),
    ]


def test_masks_of_two_shapes_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        match_lesions(lesions(row((0, 1))), lesions(row((0, 1), length=9)), "overlap", 0.6)
