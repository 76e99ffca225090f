"""Hand-made masks with known lesions and regions; opening against scipy's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from msdiff.errors import BadSettings
from msdiff.metrics.lesion import Components, components
from msdiff.metrics.regional import REGIONS, Readout, ReadoutSettings, lesions_in, opened, read_out
from msdiff.settings import check

PLAIN = {
    "opening_voxels": [1, 5, 5],
    "connectivity": 26,
    "min_lesion_volume_mm3": 0.0,
    "region_overlap_voxels": 3,
    "region_rule": "overlap",
}
# Two thirds of the volume's width are white matter, left of the middle and right of it, the rest is cortex.
REGION_MAP = np.broadcast_to(np.repeat([2, 41, 3], [8, 8, 8]), (4, 24, 24))


def having(**changes: object) -> ReadoutSettings:
    return check(ReadoutSettings, PLAIN | changes)


def mask_of(*boxes: tuple[slice, slice, slice]) -> np.ndarray:
    mask = np.zeros((4, 24, 24), dtype=bool)
    for box in boxes:
        mask[box] = True
    return mask


def box(z: int, y: int, x: int, depth: int, height: int, width: int) -> tuple[slice, slice, slice]:
    return slice(z, z + depth), slice(y, y + height), slice(x, x + width)


def lesions(mask: np.ndarray) -> Components:
    return components(mask, 26, 0, 1)


@settings(deadline=None, max_examples=40)
@given(
    arrays(bool, (3, 12, 12), elements=st.integers(0, 7).map(lambda value: value > 0)),
    st.sampled_from([(1, 5, 5), (1, 3, 3), (3, 1, 5), (1, 1, 1)]),
)
def test_opening_is_that_of_a_second_implementation(mask: np.ndarray, kernel: tuple[int, int, int]) -> None:
    assert np.array_equal(opened(mask, kernel), ndimage.binary_opening(mask, np.ones(kernel, bool)))


@settings(deadline=None, max_examples=20)
@given(arrays(np.uint16, (2, 9, 9), elements=st.integers(0, 12).map(lambda value: max(0, value - 2))))
def test_a_map_is_opened_at_every_level(levels: np.ndarray) -> None:
    result = opened(levels, (1, 3, 3))
    for level in range(1, 11):
        assert np.array_equal(result >= level, opened(levels >= level, (1, 3, 3)))


def test_opening_keeps_boxes_of_the_kernel_and_nothing_else() -> None:
    fits, too_narrow = box(0, 2, 2, 1, 5, 5), box(2, 2, 12, 2, 4, 9)
    at_the_edge = box(3, 19, 0, 1, 5, 6)
    result = opened(mask_of(fits, too_narrow, at_the_edge), (1, 5, 5))
    assert np.array_equal(result, mask_of(fits, at_the_edge))
    assert not opened(mask_of(), (1, 5, 5)).any()


def test_a_lesion_across_a_border_lies_in_both_regions() -> None:
    across = read_out(mask_of(box(1, 4, 13, 1, 2, 6)), REGION_MAP, having(), 3.0)
    assert across == Readout(1, 36.0, {"cerebral_white_matter": True, "cerebral_cortex": True})
    # Of the same 6 voxels' width, one column is cortex: two voxels, one too few.
    beside = read_out(mask_of(box(1, 4, 11, 1, 2, 6)), REGION_MAP, having(), 3.0)
    assert beside.in_region == {"cerebral_white_matter": True, "cerebral_cortex": False}


def test_a_lesion_across_both_halves_is_counted_once_and_with_both_sides_voxels() -> None:
    # Two voxels on the left and one on the right: three of white matter.
    result = read_out(mask_of(box(0, 0, 6, 1, 1, 3)), REGION_MAP, having(), 1.0)
    assert result == Readout(1, 3.0, {"cerebral_white_matter": True, "cerebral_cortex": False})


def test_a_lesion_of_two_voxels_counts_but_lies_in_no_region() -> None:
    result = read_out(mask_of(box(0, 0, 0, 1, 1, 2)), REGION_MAP, having(), 1.0)
    assert result == Readout(1, 2.0, {"cerebral_white_matter": False, "cerebral_cortex": False})
    assert read_out(mask_of(box(0, 0, 0, 1, 1, 2)), REGION_MAP, having(region_overlap_voxels=2), 1.0).in_region[
        "cerebral_white_matter"
    ]
    assert read_out(mask_of(box(0, 0, 0, 1, 1, 2)), REGION_MAP, having(min_lesion_volume_mm3=3.0), 1.0).lesions == 0


@pytest.mark.parametrize(("connectivity", "count"), [(26, 1), (18, 2), (6, 2)])
def test_lesions_that_touch_by_a_corner(connectivity: int, count: int) -> None:
    touching = mask_of(box(0, 2, 2, 1, 2, 2), box(1, 4, 4, 1, 2, 2))
    assert read_out(touching, REGION_MAP, having(connectivity=connectivity), 1.0).lesions == count


def test_the_rule_of_the_centroid_names_one_region() -> None:
    # Columns 13 to 19: the middle one, 16, is the first of the cortex.
    mask = mask_of(box(1, 4, 13, 1, 3, 7))
    by_centroid = read_out(mask, REGION_MAP, having(region_rule="centroid"), 1.0)
    assert by_centroid.in_region == {"cerebral_white_matter": False, "cerebral_cortex": True}


def test_lesions_are_counted_by_region_one_by_one() -> None:
    mask = mask_of(box(0, 0, 0, 1, 3, 3), box(2, 10, 2, 1, 3, 3), box(2, 18, 18, 1, 3, 3))
    cortex = np.isin(REGION_MAP, REGIONS["cerebral_cortex"])
    for rule in ("overlap", "centroid"):
        assert lesions_in(lesions(mask), cortex, rule, 3) == 1
        assert lesions_in(lesions(mask), ~cortex, rule, 3) == 2
    assert lesions_in(lesions(mask), np.zeros_like(cortex), "overlap", 1) == 0


def test_an_empty_mask_has_no_lesion_anywhere() -> None:
    nowhere = {"cerebral_white_matter": False, "cerebral_cortex": False}
    assert read_out(mask_of(), REGION_MAP, having(), 3.0) == Readout(0, 0.0, nowhere)
    assert read_out(mask_of(), REGION_MAP, having(region_rule="centroid"), 3.0) == Readout(0, 0.0, nowhere)


def test_a_box_without_a_middle_voxel_is_refused() -> None:
    with pytest.raises(BadSettings, match="opening_voxels"):
        having(opening_voxels=[1, 4, 4])
