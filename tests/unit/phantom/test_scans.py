import itertools

import numpy as np
import pytest
from scipy import ndimage

from msdiff.errors import BadInput
from msdiff.images import axis_aligned_grid
from msdiff.phantom.anatomy import TISSUE_LABELS, atlas_head
from msdiff.phantom.lesion_process import simulate_course
from msdiff.phantom.scans import simulate_aligned, simulate_scans
from msdiff.phantom.settings import PhantomSettings, roster
from msdiff.settings import check
from msdiff.spaces import transform_points

EVERY_NEIGHBOUR = np.ones((3, 3, 3))
COMMON = axis_aligned_grid((64, 64, 24), (3.0, 3.0, 6.0), (0.0, -18.0, 8.0))


def components(mask):
    return ndimage.label(mask.data, EVERY_NEIGHBOUR)[1]


@pytest.fixture
def settings(few_lesions):
    few_lesions["sessions"] = ["w000", "w048"]
    return check(PhantomSettings, few_lesions)


def test_masks_hold_as_many_components_as_the_process_says(few_lesions):
    settings = check(PhantomSettings, few_lesions)
    seen = 0
    for subject in list(roster(settings))[:3]:
        course = simulate_course(settings, subject)
        for index, scan in enumerate(simulate_scans(settings, subject, ["flair"])):
            assert components(scan.lesion_mask) == len(np.unique(course.lesion[course.onset <= index]))
            assert components(scan.enhancing_mask) == course.enhancing[:, index].sum()
            if index:
                fresh = (course.onset == index).sum()
                assert components(scan.change_mask) == fresh
                seen += fresh
                assert not (scan.change_mask.data & ~scan.lesion_mask.data).any()
            else:
                assert scan.change_mask is None
    assert seen >= 5


def test_the_same_seed_simulates_the_same_patient(settings, few_lesions):
    one, other = (list(simulate_scans(settings, "sub-0001", ["flair", "t1w"])) for _ in range(2))
    for scan, again in zip(one, other, strict=True):
        for contrast in ("flair", "t1w"):
            np.testing.assert_array_equal(scan.images[contrast].data, again.images[contrast].data)
    few_lesions["seed"] = 8
    changed = next(simulate_scans(check(PhantomSettings, few_lesions), "sub-0001", ["flair"]))
    assert not np.array_equal(changed.images["flair"].affine, one[0].images["flair"].affine)


def test_a_contrast_does_not_depend_on_the_others(settings, few_lesions):
    few_lesions["arms"] = {"placebo": 50}
    alone = next(simulate_scans(check(PhantomSettings, few_lesions), "sub-0002", ["t1w"]))
    both = next(simulate_scans(settings, "sub-0002", ["flair", "t1w"]))
    np.testing.assert_array_equal(alone.images["t1w"].data, both.images["t1w"].data)


def test_transforms_are_true(settings):
    """Standing lesions of a session, led through head space, land on those of the next one, within a voxel."""
    worst = []
    for subject in ("sub-0001", "sub-0002", "sub-0003"):
        centroids = []
        for scan in simulate_scans(settings, subject, ["flair"]):
            old = scan.lesion_mask.data & ~(scan.change_mask.data if scan.change_mask else False)
            labels, count = ndimage.label(old, EVERY_NEIGHBOUR)
            places = np.array(ndimage.center_of_mass(old, labels, range(1, count + 1)))
            centroids.append(
                transform_points(
                    np.linalg.inv(scan.to_head["flair"]), transform_points(scan.lesion_mask.affine, places)
                )
            )
        distance = np.linalg.norm(centroids[0][:, None] - centroids[1], axis=-1)
        assert len(centroids[0]) == len(centroids[1])
        worst.append(distance.min(axis=1).max())
    assert max(worst) < np.linalg.norm([3, 3, 6])
    assert np.mean(worst) < 4


def test_sessions_and_contrasts_lie_in_poses_of_their_own(settings):
    first, second = simulate_scans(settings, "sub-0001", ["flair", "t1w"])
    between_sessions = np.linalg.inv(first.to_head["flair"]) @ second.to_head["flair"]
    within_session = np.linalg.inv(first.to_head["flair"]) @ first.to_head["t1w"]
    centre = np.array([[0.0, -18.0, 8.0]])
    assert np.linalg.norm(transform_points(between_sessions, centre) - centre) > 1
    assert 0.05 < np.linalg.norm(transform_points(within_session, centre) - centre) < 2
    assert first.images["flair"].data.shape[2] in (30, 31)
    for scan, contrast in itertools.product((first, second), ("flair", "t1w")):
        rotation = scan.to_head[contrast][:3, :3]
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)


def test_contrasts_look_as_a_radiologist_expects(few_lesions):
    few_lesions["scanner"] |= {"bias_percent": 0.0, "noise_percent": 1.0, "gain_percent": 0.0, "contrast_percent": 0.0}
    few_lesions["scanner"] |= {"movement_degrees": 0.0, "movement_mm": 0.0}
    few_lesions["sessions"] = ["w000", "w048"]
    settings = check(PhantomSettings, few_lesions)
    scan = list(simulate_scans(settings, "sub-0002", ["flair", "t1w"]))[1]
    flair, t1w = scan.images["flair"].data, scan.images["t1w"].data
    lesions = scan.lesion_mask.data
    level = {
        name: [float(np.median(image[(scan.tissue.data == label) & ~lesions])) for image in (flair, t1w)]
        for name, label in TISSUE_LABELS.items()
    }
    assert level["csf"][0] < level["white_matter"][0] < level["grey_matter"][0]
    assert level["csf"][1] < level["grey_matter"][1] < level["white_matter"][1]
    assert 1.15 < np.percentile(flair[lesions], 75) / level["white_matter"][0] < 1.7
    assert np.median(t1w[lesions]) < level["white_matter"][1]
    assert flair.min() >= 0
    assert 500 < flair.max() < 2000
    # The skull stands between brain and scalp: something bright outside the brain, something dark in between.
    brain = scan.brain_mask.data
    rim = ndimage.binary_dilation(brain, iterations=2) & ~brain
    outside = ndimage.binary_dilation(brain, iterations=5) & ~ndimage.binary_dilation(brain, iterations=2)
    assert np.median(flair[rim]) < 0.6 * level["white_matter"][0]
    assert np.percentile(flair[outside], 90) > level["white_matter"][0]


def test_unknown_contrast_is_refused(settings):
    with pytest.raises(BadInput, match="dwi"):
        next(simulate_scans(settings, "sub-0001", ["flair", "dwi"]))


def test_aligned_masks_hold_as_many_components_as_the_process_says(few_lesions):
    settings = check(PhantomSettings, few_lesions)
    seen = 0
    for subject in roster(settings):
        course = simulate_course(settings, subject)
        for index, scan in enumerate(simulate_aligned(settings, subject, ["flair"], COMMON)):
            assert components(scan.lesion_mask) == len(np.unique(course.lesion[course.onset <= index]))
            assert components(scan.enhancing_mask) == course.enhancing[:, index].sum()
            if index:
                assert components(scan.change_mask) == (course.onset == index).sum()
                seen += components(scan.change_mask)
    assert seen >= 5


def test_aligned_sessions_lie_on_each_other_and_on_the_atlas(few_lesions):
    few_lesions["anatomy"] |= {"warp_mm": 0.0}
    settings = check(PhantomSettings, few_lesions)
    scans = list(simulate_aligned(settings, "sub-0002", ["flair", "t1w"], COMMON))
    course = simulate_course(settings, "sub-0002")
    first = scans[0]
    for scan in scans:
        for volume in (*scan.images.values(), scan.lesion_mask, scan.enhancing_mask, scan.brain_mask):
            assert volume.data.shape == COMMON.shape
            np.testing.assert_array_equal(volume.affine, COMMON.affine)
        np.testing.assert_array_equal(scan.tissue.data, first.tissue.data)
    assert not np.array_equal(scans[1].images["flair"].data, first.images["flair"].data)
    # A head that differs from the atlas by its size alone lies on it, and so do its lesions.
    atlas = atlas_head(settings.anatomy.working_mm)
    voxels = np.argwhere(first.brain_mask.data)
    places = (transform_points(COMMON.affine, voxels) - atlas.grid.affine[:3, 3]) / atlas.grid.spacing_mm
    assert (ndimage.map_coordinates(atlas.brain, places.T, order=1) > 0.3).mean() > 0.99
    assert first.brain_mask.data.sum() * 54 == pytest.approx(float(atlas.brain.sum()) * 4**3, rel=0.02)
    labels, count = ndimage.label(first.lesion_mask.data, EVERY_NEIGHBOUR)
    middles = transform_points(COMMON.affine, np.array(ndimage.center_of_mass(labels > 0, labels, range(1, count + 1))))
    for centre in course.centre_mm[course.onset == 0]:
        assert np.linalg.norm(middles - centre, axis=1).min() < np.linalg.norm([3, 3, 6])


def test_aligned_images_have_no_bias_field(few_lesions):
    few_lesions["scanner"] |= {"noise_percent": 0.0, "bias_percent": 30.0}
    scan = next(simulate_aligned(check(PhantomSettings, few_lesions), "sub-0001", ["flair"], COMMON))
    white = (scan.tissue.data == TISSUE_LABELS["white_matter"]) & ~scan.lesion_mask.data
    white = ndimage.binary_erosion(white)
    left, right = (scan.images["flair"].data[half][white[half]] for half in (slice(0, 32), slice(32, 64)))
    assert np.median(left) == pytest.approx(np.median(right), rel=0.03)
