import os
from pathlib import Path

import numpy as np
import pytest

from msdiff.errors import BadInput
from msdiff.images import Volume, axis_aligned_grid, load_image, load_mask
from msdiff.spaces import (
    from_itk,
    isotropic_grid,
    load_itk_affine,
    resample,
    resample_labels,
    save_itk_affine,
    transform_points,
)

GRID = axis_aligned_grid((12, 11, 10), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
SHARED = os.environ.get("MSDIFF_SHARED")


def shift(x, y, z):
    matrix = np.eye(4)
    matrix[:3, 3] = x, y, z
    return matrix


@pytest.fixture
def volume():
    return Volume(np.random.default_rng(0).random(GRID.shape, dtype=np.float32) + 5, GRID.affine)


def test_itk_file_keeps_a_map(tmp_path):
    matrix = np.eye(4)
    matrix[:3] += np.random.default_rng(0).normal(size=(3, 4)) / 3
    save_itk_affine(matrix, tmp_path / "a.txt")
    np.testing.assert_allclose(load_itk_affine(tmp_path / "a.txt"), matrix, atol=1e-12)


def test_itk_centre_and_axes():
    # A quarter turn about (1, 2, 3) in LPS: the centre stays, and is (-1, -2, 3) in RAS.
    matrix = from_itk(np.array([0, -1, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0.0]), np.array([1, 2, 3.0]))
    np.testing.assert_allclose(transform_points(matrix, np.array([-1, -2, 3.0])), [-1, -2, 3])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello", "got 'hello'"),
        ("Parameters: 1 2\nFixedParameters: 0 0 0\n", "12 parameters"),
        ("Parameters: 1 0 0 0 1 0 0 0 x 0 0 0\nFixedParameters: 0 0 0\n", "12 parameters"),
        ("Parameters: 1 0 0 0 1 0 0 0 0 0 0 0\nFixedParameters: 0 0 0\n", "singular"),
    ],
)
def test_bad_itk_file_is_named(tmp_path, text, message):
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(BadInput, match=f"a.txt.*{message}"):
        load_itk_affine(tmp_path / "a.txt")


def test_missing_itk_file_is_named(tmp_path):
    with pytest.raises(BadInput, match=r"a\.txt.*cannot read it"):
        load_itk_affine(tmp_path / "a.txt")


def test_identity_keeps_every_voxel(volume):
    np.testing.assert_allclose(resample(volume, GRID, np.eye(4)).data, volume.data, rtol=1e-6)


def test_map_goes_from_grid_to_image(volume):
    moved = resample(volume, GRID, shift(2, 0, 0)).data
    np.testing.assert_allclose(moved[:-2], volume.data[2:], rtol=1e-6)
    # Beyond the image's field stands its minimum.
    assert (moved[-2:] == volume.data.min()).all()


def test_flipped_axes_are_undone(volume):
    flipped = Volume(volume.data[::-1, ::-1], GRID.affine @ np.diag([-1.0, -1.0, 1, 1]) + 0)
    flipped.affine[:3, 3] = GRID.affine[:3, 3] + [11, 10, 0]
    np.testing.assert_allclose(resample(flipped, GRID, np.eye(4)).data, volume.data, rtol=1e-6)


def test_intensities_stay_in_range(volume):
    edge = Volume(np.where(np.arange(12)[:, None, None] > 5, 1000, volume.data * 0).astype(np.float32), GRID.affine)
    matrix = shift(0.4, 0.3, -0.2)
    matrix[:3, :3] *= 1.1
    moved = resample(edge, GRID, matrix).data
    assert moved.min() >= 0
    assert moved.max() <= 1000


def test_coarse_grids_average(volume):
    # A pattern of single voxels would come back as a coarse pattern, were it not blurred first.
    board = np.indices((24, 24, 24)).sum(axis=0) % 2
    fine = Volume(board.astype(np.float32), axis_aligned_grid((24, 24, 24), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)).affine)
    coarse = resample(fine, axis_aligned_grid((8, 8, 8), (3.0, 3.0, 3.0), (0.2, 0.1, 0.0)), np.eye(4))
    assert coarse.data[1:-1, 1:-1, 1:-1].std() < 0.02


def test_labels_are_not_mixed():
    labels = np.zeros(GRID.shape, dtype=np.int32)
    labels[3:6], labels[6:9] = 2, 41
    moved = resample_labels(Volume(labels, GRID.affine), GRID, shift(0.4, 0, 0))
    assert moved.data.dtype == np.int32
    assert set(np.unique(moved.data)) == {0, 2, 41}
    mask = resample_labels(Volume(labels == 2, GRID.affine), GRID, shift(1, 0, 0)).data
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask[2:5], True)
    assert mask.sum() == 3 * 11 * 10


def test_isotropic_grid_holds_the_field():
    grid = axis_aligned_grid((10, 20, 5), (2.0, 1.0, 6.0), (5.0, 6.0, 7.0))
    cubic = isotropic_grid(grid, 2.0)
    assert cubic.shape == (10, 10, 15)
    np.testing.assert_allclose(cubic.spacing_mm, 2)
    np.testing.assert_allclose(cubic.affine @ [4.5, 4.5, 7, 1], [5, 6, 7, 1])


@pytest.mark.skipif(SHARED is None, reason="MSDIFF_SHARED does not point at the real scans")
@pytest.mark.parametrize("patient", ["patient01", "patient12"])
def test_published_transforms_go_from_mask_space_to_scan(patient):
    """open_ms: `study1_FLAIR_to_common_space.txt`, read as any ITK transform, maps common points to FLAIR points.

    Only so do the two studies correlate in the published brain mask, and differ most where the change mask is.
    """
    folder = Path(SHARED or "") / "data/open_ms_data/longitudinal"
    change = load_mask(folder / "raw" / patient / "gt.nii.gz")
    brain = load_mask(folder / "coregistered" / patient / "brainmask.nii.gz", change.grid).data
    coarse = isotropic_grid(change.grid, 3.0)
    brain = resample_labels(Volume(brain, change.affine), coarse, np.eye(4)).data
    change = resample_labels(change, coarse, np.eye(4)).data

    def studies(direction):
        for study in ("study1", "study2"):
            file = folder / "raw" / patient / f"{study}_FLAIR"
            matrix = load_itk_affine(f"{file}_to_common_space.txt")
            image = resample(load_image(f"{file}.nii.gz"), coarse, np.linalg.matrix_power(matrix, direction)).data
            yield image[brain] / np.median(image[brain])

    first, second = studies(1)
    assert np.corrcoef(first, second)[0, 1] > 0.9
    difference = np.abs(second - first)
    assert (change & brain).sum() > 0.95 * change.sum()
    assert difference[change[brain]].mean() > 3 * difference.mean()
    assert np.corrcoef(*studies(-1))[0, 1] < 0.5
