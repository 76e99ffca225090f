import numpy as np
import pytest
from hypothesis import given as for_each
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as some
from scipy import ndimage

from msdiff.images import axis_aligned_grid
from msdiff.settings import check
from msdiff.synthesis import placement as module
from msdiff.synthesis.placement import PlacementSettings, Placer, Pose

GRID = axis_aligned_grid((16, 16, 3), (3.0, 3.0, 6.0), (0.0, 0.0, 0.0))


@pytest.fixture(scope="module")
def asked(given):
    def settings(**changes):
        return check(PlacementSettings, given("plan")["mass"]["placement"] | changes)

    return settings


def test_room_is_brain_near_white_matter_and_off_old_lesions(stack):
    expected = np.zeros((16, 16), dtype=bool)
    expected[4:12, 4:12] = True
    # One voxel of 3 mm beyond the white matter, edge to edge.
    expected[3, 4:12] = expected[12, 4:12] = expected[4:12, 3] = expected[4:12, 12] = True
    expected[5:7, 5:7] = False
    np.testing.assert_array_equal(Placer(stack).allowed(0, 0, 3.0), expected)


def test_without_lesion_masks_old_lesions_are_not_known(tmp_path, make_stack):
    assert Placer(make_stack(tmp_path / "stack", lesions=False)).allowed(0, 0, 0.0).sum() == 64


def test_a_lesion_that_fits_stays_and_one_that_does_not_is_moved_whole(tmp_path, make_stack, asked):
    stack = make_stack(tmp_path / "stack")
    changes = np.zeros((14, 3, 16, 16), dtype=np.uint8)
    changes[3, 0, 1:3, 10:12] = 1  # two voxels above where it may lie
    changes[3, 0, 5:7, 6:8] = 1  # on the old lesion's right half
    changes[3, 0, 9:11, 8:11] = 1  # in the white matter
    np.save(stack.folder / "change_mask.npy", changes)
    placed = Placer(stack).place(0, 0, 3, 0, asked())
    assert placed.shifts == [(2, 0), (0, 1), (0, 0)]
    assert placed.surviving_fraction == 1
    expected = np.zeros((16, 16), dtype=bool)
    expected[3:5, 10:12] = expected[5:7, 7:9] = expected[9:11, 8:11] = True
    np.testing.assert_array_equal(placed.mask, expected)


def test_a_lesion_without_room_within_reach_is_left_out(tmp_path, make_stack, asked):
    stack = make_stack(tmp_path / "stack")
    changes = np.zeros((14, 3, 16, 16), dtype=np.uint8)
    changes[3, 0, 0:2, 8:10] = 1
    changes[3, 0, 8:10, 8:11] = 1
    np.save(stack.folder / "change_mask.npy", changes)
    placed = Placer(stack).place(0, 0, 3, 0, asked(largest_shift_mm=6.0))
    assert placed.shifts == [None, (0, 0)]
    assert placed.surviving_fraction == pytest.approx(0.6)


@pytest.mark.parametrize("donor", range(6))
def test_placed_lesions_keep_form_and_number_and_lie_where_they_may(tmp_path, make_stack, asked, donor):
    stack = make_stack(tmp_path / "stack")
    rng = np.random.default_rng(donor)
    changes = np.zeros((14, 3, 16, 16), dtype=np.uint8)
    changes[3, 0] = ndimage.binary_dilation(rng.random((16, 16)) < 0.02, iterations=1)
    np.save(stack.folder / "change_mask.npy", changes)
    placer = Placer(stack)
    placed = placer.place(0, 0, 3, 0, asked())
    assert not (placed.mask & ~placer.allowed(0, 0, 3.0)).any()
    sizes = np.bincount(ndimage.label(changes[3, 0], module.EIGHT_CONNECTED)[0].ravel())[1:]
    kept = sorted(size for size, shift in zip(sizes, placed.shifts, strict=True) if shift is not None)
    assert sorted(np.bincount(ndimage.label(placed.mask, module.EIGHT_CONNECTED)[0].ravel())[1:]) == kept
    assert placed.surviving_fraction == pytest.approx(sum(kept) / sizes.sum())
    lengths = [np.hypot(*shift) * 3.0 for shift in placed.shifts if shift is not None]
    assert max(lengths, default=0) <= 12


@for_each(some.integers(0, 2**32 - 1))
@hypothesis_settings(max_examples=50, deadline=None)
def test_the_nearest_place_is_that_of_an_exhaustive_search(seed):
    rng = np.random.default_rng(seed)
    room = np.pad(rng.random((9, 9)) < 0.8, 3)
    voxels = np.argwhere(np.pad(rng.random((3, 3)) < 0.5, 6))
    if not len(voxels):
        return
    steps = np.array([(y, x) for y in range(-3, 4) for x in range(-3, 4)])
    offsets = steps[np.lexsort((steps[:, 1], steps[:, 0], np.linalg.norm(steps, axis=1)))]
    fitting = [np.hypot(y, x) for y, x in steps if room[tuple((voxels + np.array([y, x])).T)].all()]
    found = module.nearest(voxels, room, offsets)
    assert (found is None) == (not fitting)
    if found is not None:
        assert np.hypot(*found) == min(fitting)
        assert room[tuple((voxels + found).T)].all()


def test_a_plans_row_places_the_same_again_without_regions(tmp_path, make_stack, asked):
    stack = make_stack(tmp_path / "stack")
    pose = Pose(False, 20.0, 1.2)
    placed = Placer(stack).place(2, 1, 5, 1, asked(), pose)
    assert placed.mask.any()
    for name in ("regions", "brain_mask", "lesion_mask"):
        (stack.folder / f"{name}.npy").unlink()
    row = {"mask_row": 5, "mask_slice": 1, "follow_up_row": -1, **pose._asdict()}
    again = Placer(stack).mask(row | {"shifts": module.write_shifts(placed.shifts)})
    np.testing.assert_array_equal(again, placed.mask)


def test_a_mask_is_mirrored_about_the_midline_and_turned_and_scaled_about_its_centre():
    mask = np.zeros((16, 16), dtype=bool)
    mask[4:7, 2:4] = True
    mirrored = module.posed(mask, Pose(True, 0.0, 1.0), GRID)
    np.testing.assert_array_equal(mirrored, mask[:, ::-1])
    off_centre = axis_aligned_grid((16, 16, 3), (3.0, 3.0, 6.0), (6.0, 0.0, 0.0))
    # The midline lies two voxels left of the array's middle.
    moved = module.posed(mask, Pose(True, 0.0, 1.0), off_centre)
    np.testing.assert_array_equal(np.argwhere(moved)[:, 1].min(), 11 - 3)
    turned = module.posed(mask, Pose(False, 90.0, 1.0), GRID)
    assert np.ptp(np.argwhere(turned), axis=0).tolist() == [1, 2]
    assert 2 * mask.sum() < module.posed(mask, Pose(False, 0.0, 1.8), GRID).sum() < 5 * mask.sum()


def test_poses_keep_within_their_settings(asked):
    settings = asked(mirror=0.5, largest_rotation_degrees=10.0, largest_scale=1.25)
    poses = [module.choose_pose(settings, np.random.default_rng(seed)) for seed in range(200)]
    assert 60 < sum(pose.mirrored for pose in poses) < 140
    assert 5 < max(abs(pose.rotation_degrees) for pose in poses) <= 10
    assert 0.8 <= min(pose.scale for pose in poses) < 0.9
    assert 1.1 < max(pose.scale for pose in poses) <= 1.25
    assert module.choose_pose(asked(), np.random.default_rng(0)) == module.AS_IT_IS
