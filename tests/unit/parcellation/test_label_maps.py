import nibabel as nib
import numpy as np
import pytest

from msdiff.errors import BadInput
from msdiff.parcellation.label_maps import CODES, POSITIONS, label_map_paths, phantom_map, read_label_map


def write(path, codes, affine=None):
    nib.Nifti1Image(codes.astype(np.int32), np.eye(4) if affine is None else affine).to_filename(path)
    return path


@pytest.fixture
def codes():
    codes = np.zeros((70, 60, 66), dtype=np.int32)
    codes[10:60, 5:55, 8:58] = 511
    codes[30:35, 28:33, 30:36] = 2
    codes[35:40, 28:33, 30:36] = 41
    codes[33:35, 29:31, 32:34], codes[35:37, 29:31, 32:34] = 4, 43
    codes[38, 30, 33] = 57
    return codes


def test_map_is_cropped_around_the_brain(tmp_path, codes):
    label_map = read_label_map(write(tmp_path / "a.nii.gz", codes))
    assert label_map.name == "a"
    low, high = label_map.brain_box
    assert tuple(high - low) == (9, 4, 5)
    values = np.array(list(CODES))[label_map.codes]
    assert np.array_equal(np.unique(values), [0, 2, 4, 41, 43, 57, 511])
    assert (values == 57).sum() == 1
    x, y, z = (int(edge) for edge in low)
    assert values[x, y, z] == 2


def test_map_of_any_orientation_is_turned_to_ras(tmp_path, codes):
    upright = read_label_map(write(tmp_path / "a.nii.gz", codes))
    turned = np.ascontiguousarray(np.transpose(codes, (0, 2, 1))[::-1, ::-1])
    affine = np.array([[-1.0, 0, 0, 69], [0, 0, 1, 0], [0, -1, 0, 65], [0, 0, 0, 1]])
    assert np.array_equal(read_label_map(write(tmp_path / "b.nii.gz", turned, affine)).codes, upright.codes)


def test_distances_to_the_lateral_ventricles(tmp_path, codes):
    label_map = read_label_map(write(tmp_path / "a.nii.gz", codes))
    ventricles = np.isin(label_map.codes, [POSITIONS[4], POSITIONS[43]])
    # Measured on voxels of 2 mm.
    assert label_map.ventricle_mm[ventricles].max() <= 4
    x, y, z = np.argwhere(ventricles)[0]
    assert int(label_map.ventricle_mm[x + 12, y, z]) == pytest.approx(9, abs=2)


def test_without_ventricles_every_place_is_far_from_them(tmp_path, codes):
    codes[np.isin(codes, (4, 43))] = 2
    assert np.all(read_label_map(write(tmp_path / "a.nii.gz", codes)).ventricle_mm == 255)


def test_unknown_labels_and_other_voxels_are_refused(tmp_path, codes):
    codes[0, 0, 0] = 77
    with pytest.raises(BadInput, match=r"\[77\]"):
        read_label_map(write(tmp_path / "a.nii.gz", codes))
    with pytest.raises(BadInput, match="voxels of 1 mm"):
        read_label_map(write(tmp_path / "b.nii.gz", codes, np.diag([2.0, 1, 1, 1])))


@pytest.mark.parametrize("folder", [None, "empty"])
def test_without_maps_it_says_where_to_get_them(tmp_path, folder):
    with pytest.raises(BadInput, match=r"github\.com/BBillot/SynthSeg"):
        label_map_paths(folder and tmp_path, ())


def test_held_out_maps_are_kept_apart(tmp_path):
    for name in "abc":
        (tmp_path / f"{name}.nii.gz").touch()
    train, held_out = label_map_paths(tmp_path, ("b",))
    assert [path.name for path in train] == ["a.nii.gz", "c.nii.gz"]
    assert [path.name for path in held_out] == ["b.nii.gz"]
    with pytest.raises(BadInput, match="expected the held-out maps b, d"):
        label_map_paths(tmp_path, ("b", "d"))
    with pytest.raises(BadInput, match="expected maps to train on"):
        label_map_paths(tmp_path, ("a", "b", "c"))


@pytest.mark.slow
def test_phantom_has_its_tissues_where_they_belong():
    label_map = phantom_map()
    assert label_map.tissues_only
    values = np.array(list(CODES))[label_map.codes]
    assert set(np.unique(values)) == {0, 2, 3, 24, 41, 42, 506, 508, 511, 515, 516}
    volumes_ml = {code: (values == code).sum() / 1000 for code in (2, 41, 3, 42, 24)}
    assert 200 < volumes_ml[2] < 400
    assert volumes_ml[2] == pytest.approx(volumes_ml[41], rel=0.05)
    assert volumes_ml[3] == pytest.approx(volumes_ml[42], rel=0.05)
    # Left is where x is low, in RAS.
    assert np.argwhere(values == 2)[:, 0].mean() < np.argwhere(values == 41)[:, 0].mean()
    near = values[label_map.ventricle_mm == 0]
    assert (near == 24).mean() > 0.5
