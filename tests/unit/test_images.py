import nibabel as nib
import numpy as np
import pytest

from msdiff.errors import BadInput
from msdiff.images import Volume, axis_aligned_grid, check_grid, load_grid, load_image, load_labels, load_mask, save

GRID = axis_aligned_grid((6, 5, 4), (1.0, 2.0, 3.0), (0.0, -18.0, 8.0))


def write(path, data, affine=GRID.affine):
    nib.save(nib.Nifti1Image(data, affine), path)
    return path


@pytest.fixture
def data():
    return np.random.default_rng(0).random(GRID.shape, dtype=np.float32)


def test_grid_is_centred():
    middle = GRID.affine @ [2.5, 2.0, 1.5, 1.0]
    np.testing.assert_allclose(middle[:3], [0, -18, 8])
    assert GRID.voxel_volume_mm3 == pytest.approx(6)
    np.testing.assert_allclose(GRID.spacing_mm, [1, 2, 3])


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int32, np.uint8, bool])
def test_what_is_saved_is_loaded(tmp_path, kind):
    values = np.random.default_rng(0).integers(0, 2, GRID.shape).astype(kind)
    save(Volume(values, GRID.affine), tmp_path / "a.nii.gz")
    loaded = load_image(tmp_path / "a.nii.gz")
    np.testing.assert_allclose(loaded.data, values, rtol=1e-6)
    check_grid(loaded.grid, GRID, "a")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(BadInput, match=r"nothing\.nii\.gz: no such file"):
        load_image(tmp_path / "nothing.nii.gz")


def test_text_is_not_nifti(tmp_path):
    (tmp_path / "a.nii.gz").write_text("not an image")
    with pytest.raises(BadInput, match="expected a NIfTI image"):
        load_image(tmp_path / "a.nii.gz")


def test_other_format_is_refused(tmp_path, data):
    nib.save(nib.MGHImage(data, GRID.affine), tmp_path / "a.mgz")
    with pytest.raises(BadInput, match="expected a NIfTI image"):
        load_image(tmp_path / "a.mgz")


def test_truncated_file_is_refused(tmp_path, data):
    path = write(tmp_path / "a.nii.gz", data)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(BadInput, match="cannot read it"):
        load_image(path)


def test_four_dimensions_are_refused(tmp_path, data):
    path = write(tmp_path / "a.nii.gz", np.stack([data, data], axis=-1))
    with pytest.raises(BadInput, match=r"expected a 3-D image, got shape \(6, 5, 4, 2\)"):
        load_image(path)


def test_a_single_fourth_frame_is_dropped(tmp_path, data):
    assert load_image(write(tmp_path / "a.nii.gz", data[..., None])).data.shape == GRID.shape


def test_empty_image_is_refused(tmp_path, data):
    with pytest.raises(BadInput, match="the same value in every voxel"):
        load_image(write(tmp_path / "a.nii.gz", np.zeros_like(data)))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_refused(tmp_path, data, bad):
    data[1, 2, 3] = bad
    with pytest.raises(BadInput, match="expected finite intensities"):
        load_image(write(tmp_path / "a.nii.gz", data))


def test_singular_affine_is_refused(tmp_path, data):
    affine = GRID.affine.copy()
    affine[:, 2] = 0
    image = nib.Nifti1Image(data, None)
    image.header.set_sform(affine, code=1)
    nib.save(image, tmp_path / "a.nii.gz")
    with pytest.raises(BadInput, match="expected an invertible affine"):
        load_image(tmp_path / "a.nii.gz")


def test_mask_values_are_checked(tmp_path, data):
    path = write(tmp_path / "a.nii.gz", (data > 0.5).astype(np.uint8) * 2)
    with pytest.raises(BadInput, match=r"expected a mask of 0 and 1, got values such as \[2\]"):
        load_mask(path)


def test_mask_may_be_empty(tmp_path):
    assert not load_mask(write(tmp_path / "a.nii.gz", np.zeros(GRID.shape, np.uint8)), GRID).data.any()


def test_mask_of_another_shape_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"expected the grid of its image, \(6, 5, 4\) voxels, got \(6, 5, 5\)"):
        load_mask(write(tmp_path / "a.nii.gz", np.zeros((6, 5, 5), np.uint8)), GRID)


def test_mask_in_another_place_is_refused(tmp_path):
    affine = GRID.affine.copy()
    affine[2, 3] += 3
    with pytest.raises(BadInput, match=r"3\.0 mm away"):
        load_mask(write(tmp_path / "a.nii.gz", np.zeros(GRID.shape, np.uint8), affine), GRID)


def test_headers_may_differ_in_the_last_digits(tmp_path):
    affine = GRID.affine * (1 + 1e-6)
    affine[3, 3] = 1
    load_mask(write(tmp_path / "a.nii.gz", np.zeros(GRID.shape, np.uint8), affine), GRID)


def test_labels_are_whole_numbers(tmp_path, data):
    path = write(tmp_path / "a.nii.gz", np.full(GRID.shape, 41, np.int16))
    assert (load_labels(path, GRID).data == 41).all()
    with pytest.raises(BadInput, match="expected whole-number labels"):
        load_labels(write(tmp_path / "b.nii.gz", data))


def test_a_grid_is_read_from_the_header_alone(tmp_path):
    grid = axis_aligned_grid((5, 6, 7), (1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
    save(Volume(np.zeros(grid.shape, dtype=np.float32), grid.affine), tmp_path / "empty.nii")
    found = load_grid(tmp_path / "empty.nii")
    assert found.shape == grid.shape
    np.testing.assert_allclose(found.affine, grid.affine)
    # Without its voxels a file still has a grid, and is no image.
    cut = tmp_path / "cut.nii"
    cut.write_bytes((tmp_path / "empty.nii").read_bytes()[:400])
    assert load_grid(cut).shape == grid.shape
    with pytest.raises(BadInput, match="cannot read it"):
        load_image(cut)
