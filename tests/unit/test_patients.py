import pytest

from msdiff.errors import BadInput
from msdiff.patients import image_path, patient_images


def test_images_come_by_session_without_masks(tmp_path):
    for name in ("ses-w048_flair", "ses-w000_t1w", "ses-w000_flair", "ses-w000_lesion_mask", "ses-w000_change_mask"):
        (tmp_path / f"{name}.nii.gz").touch()
    (tmp_path / "ses-w000_flair_to_grid.txt").touch()
    images = patient_images(tmp_path)
    assert list(images) == ["ses-w000", "ses-w048"]
    assert list(images["ses-w000"]) == ["flair", "t1w"]
    assert images["ses-w048"] == {"flair": image_path(tmp_path, "ses-w048", "flair")}


def test_empty_folder_is_named(tmp_path):
    with pytest.raises(BadInput, match=f"{tmp_path.name}: expected a patient's images"):
        patient_images(tmp_path)
