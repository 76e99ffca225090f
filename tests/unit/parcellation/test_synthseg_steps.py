import numpy as np
import pytest
from scipy import ndimage
from scipy.interpolate import RegularGridInterpolator
from scipy.spatial.transform import Rotation

from msdiff.images import Grid, Volume, axis_aligned_grid
from msdiff.parcellation import synthseg_steps as steps
from msdiff.parcellation.regions import LABELS
from msdiff.spaces import transform_points

CODES = tuple(LABELS)


def oblique(shape, spacing_mm, degrees):
    """A grid whose axes run to the left, posterior and superior, turned about all three."""
    affine = np.eye(4)
    turn = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    affine[:3, :3] = turn @ np.diag([-1, -1, 1]) @ np.diag(spacing_mm)
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine)


def at(grid):
    """World coordinates (X, Y, Z, 3) of a grid's voxels."""
    return transform_points(grid.affine, np.stack(np.indices(grid.shape), axis=-1).astype(float))


CENTRES = {2: np.array([-14.0, 3.0, -4.0]), 41: np.array([13.0, -6.0, 5.0])}


def two_blobs(points):
    """A bright blob on either side, at heights and depths of their own."""
    return sum(np.exp(-(np.linalg.norm(points - centre, axis=-1) ** 2) / 72) for centre in CENTRES.values())


def tells_sides(image):
    """A network for labels 0, 2, 41: what is bright is left in the lower half of the first axis, else right."""
    bright = image > 0.5
    left = (np.arange(len(image)) < len(image) / 2)[:, None, None]
    return np.stack([~bright, bright & left, bright & ~left], axis=-1).astype(np.float32)


def test_resampling_is_the_published_one():
    """Against an interpolator evaluated at the published positions: outer faces stay, voxels beyond are the edge's."""
    data = np.random.default_rng(0).random((9, 7, 5))
    grid = axis_aligned_grid((9, 7, 5), (1.5, 1.0, 3.2), (1.0, 2.0, 3.0))
    found = steps.resample(Volume(data, grid.affine), 1.0)
    factor = np.array([1.5, 1.0, 3.2])
    axes = []
    for size, step in zip(data.shape, factor, strict=True):
        position = -(step - 1) / (2 * step) + np.arange(np.ceil(size * step - 1e-9)) / step
        axes.append(np.clip(position, 0, size - 1))
    # Published: every axis whose voxels do not shrink is blurred by a quarter of the new voxel first.
    blurred = ndimage.gaussian_filter(data, (0, 0.25, 0))
    expected = RegularGridInterpolator([np.arange(size) for size in data.shape], blurred)(
        np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    )
    np.testing.assert_allclose(found.data, expected, atol=1e-6)
    np.testing.assert_allclose(found.grid.spacing_mm, 1.0)
    faces = [transform_points(each.affine, np.full(3, -0.5)) for each in (grid, found.grid)]
    np.testing.assert_allclose(faces[0], faces[1])


def test_smaller_voxels_are_blurred_before_they_become_larger():
    noise = np.random.default_rng(0).normal(size=(40, 40, 40)).astype(np.float32)
    grid = axis_aligned_grid((40, 40, 40), (0.5, 1.0, 1.0), (0.0, 0.0, 0.0))
    found = steps.resample(Volume(noise, grid.affine), 1.0).data
    assert found.shape == (20, 40, 40)
    assert found.std() < 0.75


def test_voxels_nearly_as_wanted_are_taken_as_they_are():
    volume = Volume(np.zeros((4, 4, 4)), np.diag([1.04, 0.96, 1.0, 1.0]))
    assert steps.resample(volume, 1.0) is volume


def test_ras_keeps_what_is_where():
    grid = oblique((5, 6, 7), (1.0, 2.0, 3.0), (20, -10, 15))
    values = at(grid)[..., 2]
    turned = steps.to_ras(Volume(values.transpose(2, 0, 1), grid.affine[:, [2, 0, 1, 3]]))
    np.testing.assert_allclose(at(turned.grid)[..., 2], turned.data)
    assert (np.diag(turned.affine)[:3] > 0).all()
    assert np.abs(turned.affine[:3, :3]).argmax(axis=0).tolist() == [0, 1, 2]


def test_crop_and_pad_keep_what_is_where():
    grid = axis_aligned_grid((40, 50, 30), (1.0, 1.0, 1.0), (3.0, -2.0, 5.0))
    box = axis_aligned_grid((4, 6, 3), (2.0, 2.0, 3.0), (-8.0, 1.0, 5.0))
    cropped = steps.crop(Volume(at(grid)[..., 0], grid.affine), box, 3.0)
    np.testing.assert_allclose(at(cropped.grid)[..., 0], cropped.data)
    low, high = at(cropped.grid)[0, 0, 0], at(cropped.grid)[-1, -1, -1]
    assert (low <= at(box)[0, 0, 0] - 3 - np.array([1, 1, 1.5])).all()
    assert (high >= at(box)[-1, -1, -1] + 3 + np.array([1, 1, 1.5])).all()
    assert (np.array(cropped.data.shape) <= np.array([8, 12, 9]) + 6 + 3).all()
    padded = steps.pad(cropped, 32)
    assert padded.data.shape == (32, 32, 32)
    inside = padded.data != 0
    np.testing.assert_allclose(
        at(Grid(padded.data.shape, padded.affine))[..., 0][inside], padded.data[inside], rtol=1e-6
    )
    assert steps.pad(Volume(np.ones((32, 64, 96)), np.eye(4)), 32).data.shape == (32, 64, 96)


def test_a_box_beyond_the_image_is_cut_at_its_edge():
    volume = Volume(np.ones((10, 10, 10)), np.eye(4))
    assert steps.crop(volume, Grid((100, 100, 100), np.eye(4)), 50.0).data.shape == (10, 10, 10)


def test_intensities_are_rescaled_between_percentiles():
    data = np.arange(1001, dtype=np.float32).reshape(7, 11, 13)
    scaled = steps.rescale(data)
    assert scaled.min() == 0
    assert scaled.max() == 1
    assert scaled.ravel()[500] == pytest.approx(0.5)
    assert (scaled.ravel()[:6] == 0).all()
    assert scaled.ravel()[6] == pytest.approx((6 - 5) / 990)
    assert (steps.rescale(np.full((3, 3, 3), 7, np.float32)) == 0).all()


def test_posteriors_are_smoothed_as_published():
    def impulse(image):
        posteriors = np.zeros((5, 5, 5, 2), dtype=np.float32)
        posteriors[2, 2, 2, 1] = posteriors[0, 0, 0, 0] = 1
        return posteriors

    found = steps.posteriors_of(np.zeros((5, 5, 5), np.float32), impulse, (0, 24), fast=True)
    side = np.exp(-2.0) / (1 + 2 * np.exp(-2.0))
    middle = 1 - 2 * side
    assert found[2, 2, 2, 1] == pytest.approx(middle**3)
    assert found[1, 2, 2, 1] == pytest.approx(side * middle**2)
    assert found[0, 2, 2, 1] == 0
    assert found[..., 1].sum() == pytest.approx(1)
    assert found[..., 0].sum() == pytest.approx((middle + side) ** 3)


def test_mirror_swaps_sides_and_nothing_else():
    partner = {CODES[k]: CODES[other] for k, other in enumerate(steps.mirror(CODES))}
    assert partner[2] == 41
    assert partner[60] == 28
    assert [partner[code] for code in (0, 14, 15, 16, 24)] == [0, 14, 15, 16, 24]
    assert all(partner[partner[code]] == code for code in CODES)
    assert sum(partner[code] != code for code in CODES) == 28


def test_both_directions_are_averaged():
    labels = (0, 2, 41, 24)
    image = np.random.default_rng(0).random((8, 6, 4)).astype(np.float32)

    def biased(image):
        shares = np.stack([0 * image, 0.8 + 0 * image, 0.2 + 0 * image, 0 * image], axis=-1)
        shares[:4, ..., 3] = 0.1
        return shares

    found = steps.posteriors_of(image, biased, labels, fast=False)[2:6, 2:4, 1:3]
    np.testing.assert_allclose(found[..., 1:3], 0.5, atol=1e-6)
    np.testing.assert_allclose(found[..., 3], 0.05, atol=1e-6)
    np.testing.assert_allclose(steps.posteriors_of(image, biased, labels, fast=True)[2:6, 2:4, 1:3, 1], 0.8, atol=1e-6)


def test_groups_are_the_published_ones():
    """The published classes, unique labels in order: 0 is left alone, equal numbers hang together."""
    published = [0, 4, 4, 4, 4, 5, 5, 6, 7, 8, 9, 1, 2, 3, 10, 11, 0, 12, 13]
    published += [14, 14, 14, 14, 15, 15, 16, 17, 18, 19, 20, 21, 22, 23]
    expected = {frozenset(k for k, one in enumerate(published) if one == number) for number in set(published) - {0}}
    assert {frozenset(group) for group in steps.groups(CODES)} == expected


@pytest.mark.parametrize("fast", [False, True])
def test_stray_parts_are_dropped(fast):
    labels = (0, 2, 4, 14, 24)
    posteriors = np.zeros((24, 12, 12, 5), dtype=np.float32)
    posteriors[2:12, 2:10, 2:10, 1] = 1  # white matter
    posteriors[12:14, 2:10, 2:10, 2] = 0.8  # a ventricle that touches it
    posteriors[14:16, 2:10, 2:10, 4] = 0.7  # fluid behind that
    posteriors[16:18, 4:6, 4:6, 2] = 0.6  # more ventricle, touching fluid alone
    posteriors[16:18, 7:9, 7:9, 4] = 0.6  # fluid in another part
    posteriors[3, 3, 3, 3] = 0.15  # a weak posterior
    posteriors[21:23, 2:4, 2:4, 1] = 0.9  # white matter beyond the brain
    posteriors[..., 0] = 1 - posteriors[..., 1:].sum(axis=-1).clip(0, 1)
    cleaned = steps.clean(posteriors.copy(), labels, fast)
    assert (cleaned[21:23, ..., 1:] == 0).all()
    assert cleaned[2:12, ..., 1].sum() == 640
    assert (cleaned[12:14, 2:10, 2:10, 2] > 0.79).all()
    assert (cleaned[16:18, 7:9, 7:9, 4] > 0.59).all()
    assert (cleaned[16:18, 4:6, 4:6, 2] > 0.59).all() == fast
    assert cleaned[3, 3, 3, 3] == 0
    np.testing.assert_array_equal(cleaned[..., 0], posteriors[..., 0])


def test_nothing_found_stays_nothing():
    posteriors = np.zeros((6, 6, 6, 3), dtype=np.float32)
    posteriors[..., 0] = 1
    cleaned = steps.clean(posteriors, (0, 2, 41), fast=False)
    assert (steps.label_on(Grid((6, 6, 6), np.eye(4)), cleaned, np.eye(4), (0, 2, 41)) == 0).all()


@pytest.mark.parametrize(
    ("grid", "spacing_mm"),
    [
        (axis_aligned_grid((60, 64, 50), (1.0, 1.0, 1.0), (0.0, 4.0, 1.0)), 1.0),
        (oblique((56, 60, 52), (1.0, 1.0, 1.0), (0, 0, 0)), 1.0),
        (axis_aligned_grid((60, 64, 18), (1.0, 1.0, 3.0), (0.5, 4.0, 1.0)), 1.0),
        (oblique((50, 64, 20), (1.2, 0.9, 3.0), (14, -9, 11)), 1.0),
        (oblique((50, 64, 20), (1.2, 0.9, 3.0), (14, -9, 11)), 1.5),
    ],
    ids=["1 mm", "1 mm turned", "thick slices", "oblique", "oblique to 1.5 mm"],
)
@pytest.mark.parametrize("margin_mm", [None, 4.0])
def test_labels_come_back_to_where_they_were(grid, spacing_mm, margin_mm):
    """There and back, flipped and averaged: each blob keeps its side, its place and its size."""
    image = Volume(two_blobs(at(grid)).astype(np.float32), grid.affine)
    box = None if margin_mm is None else axis_aligned_grid((40, 40, 40), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    prepared = steps.prepare(image, spacing_mm, 32, box, margin_mm or 0.0)
    assert all(side % 32 == 0 for side in prepared.data.shape)
    codes = (0, 2, 41)
    posteriors = steps.posteriors_of(prepared.data, tells_sides, codes, fast=False)
    found = steps.label_on(grid, posteriors, prepared.affine, codes)
    for code, centre in CENTRES.items():
        where = at(grid)[found == code]
        np.testing.assert_allclose(where.mean(axis=0), centre, atol=0.35)
    sizes = [np.count_nonzero(found == code) for code in CENTRES]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.05)


def test_voxels_beyond_the_image_are_background():
    posteriors = np.zeros((8, 8, 8, 2), dtype=np.float32)
    posteriors[..., 1] = 1
    found = steps.label_on(axis_aligned_grid((20, 8, 8), (1, 1, 1), (3.5, 3.5, 3.5)), posteriors, np.eye(4), (0, 24))
    assert (found[6:14] == 24).all()
    assert (found[:6] == 0).all()
    assert (found[14:] == 0).all()


def test_half_covered_voxels_take_the_most_probable_label():
    """Thick voxels that no voxel centre meets: the label is that of the interpolated posteriors."""
    posteriors = np.zeros((4, 1, 1, 3), dtype=np.float32)
    posteriors[..., 0] = np.reshape([0.9, 0.2, 0.2, 0.9], (4, 1, 1))
    posteriors[..., 1] = np.reshape([0.1, 0.8, 0.1, 0.0], (4, 1, 1))
    posteriors[..., 2] = np.reshape([0.0, 0.0, 0.7, 0.1], (4, 1, 1))
    affine = np.eye(4)
    affine[0, 3] = 0.4
    assert steps.label_on(Grid((3, 1, 1), affine), posteriors, np.eye(4), (0, 2, 41)).ravel().tolist() == [0, 2, 0]
