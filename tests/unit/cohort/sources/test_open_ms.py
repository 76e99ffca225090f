import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from msdiff.cohort.sheets import read_sheet, write_sheet
from msdiff.cohort.sources.open_ms import index_open_ms, index_open_ms_coregistered
from msdiff.errors import BadInput
from msdiff.images import check_grid, load_mask
from msdiff.spaces import load_itk_affine, transform_points

SHARED = os.environ.get("MSDIFF_SHARED")
INFO = "patient_id,sex,days_between_studies\n1,F,203\n2,F,283\n3,M,671\n"


@pytest.fixture
def published(tmp_path, touch):
    """Folders of the published names: patient02 lacks a FLAIR, patient03 its first T1W."""
    root = tmp_path / "open_ms_data"
    longitudinal = root / "longitudinal"
    for number, study, contrast in (
        (number, study, contrast) for number in (1, 2, 3) for study in (1, 2) for contrast in ("FLAIR", "T1W", "T2W")
    ):
        if (number, study, contrast) not in ((2, 1, "FLAIR"), (3, 1, "T1W")):
            touch(longitudinal / "raw" / f"patient{number:02d}", f"study{study}_{contrast}.nii.gz")
            touch(longitudinal / "coregistered" / f"patient{number:02d}", f"study{study}_{contrast}.nii.gz")
    for number in (1, 2, 3):
        transforms = ["study1_FLAIR_to_common_space.txt", "study2_FLAIR_to_common_space.txt"]
        touch(longitudinal / "raw" / f"patient{number:02d}", "gt.nii.gz", *transforms)
        touch(longitudinal / "coregistered" / f"patient{number:02d}", "gt.nii.gz", "brainmask.nii.gz", *transforms)
    (longitudinal / "patient_info.csv").write_text(INFO)
    return root


@pytest.mark.parametrize("below", ["", "longitudinal", "longitudinal/raw"])
def test_published_folders_are_listed(published, tmp_path, below):
    table = index_open_ms(published / below)
    write_sheet(table, tmp_path / "sheet.tsv")
    scans = read_sheet(tmp_path / "sheet.tsv", ["flair", "t1w", "t2w"])
    assert scans["subject"].tolist() == ["sub-01", "sub-01", "sub-03", "sub-03"]
    assert scans["days"].tolist() == [0, 203, 0, 671]
    assert (scans["t1w"] == "").tolist() == [False, False, True, False]
    assert [Path(path).name for path in scans["change_mask"]] == ["", "gt.nii.gz", "", "gt.nii.gz"]
    assert Path(scans["change_mask_transform"][1]).name == "study2_FLAIR_to_common_space.txt"


@pytest.fixture
def described(tmp_path, touch):
    """One patient in the folders of the data set's own description, not compressed."""
    folder = tmp_path / "patient1"
    for study in (1, 2):
        touch(folder, f"raw/patient1_study{study}_FLAIR.nii", f"patient1_study{study}_FLAIRreg.nii")
        touch(folder, f"patient1_study{study}_FLAIR_to_common_space.txt")
    touch(folder, "patient1_gt.nii", "patient1_brainmask.nii")
    (tmp_path / "patient_info.csv").write_text(INFO)
    return folder


def test_folders_of_the_data_sets_own_description_are_listed(described):
    table = index_open_ms(described.parent)
    assert table["flair"].tolist() == [str(described / f"raw/patient1_study{study}_FLAIR.nii") for study in (1, 2)]
    assert table["change_mask"].tolist() == ["", str(described / "patient1_gt.nii")]
    assert (table["t1w"] == "").all()
    table = index_open_ms_coregistered(described.parent)
    assert table["flair"].tolist() == [str(described / f"patient1_study{study}_FLAIRreg.nii") for study in (1, 2)]
    assert table["brain_mask"].tolist() == [str(described / "patient1_brainmask.nii")] * 2


def test_coregistered_scans_share_a_grid_with_their_masks(published, sheet):
    scans = sheet("open_ms_coregistered", published, ["flair", "t1w", "t2w"])
    folder = "longitudinal/coregistered"
    assert scans["subject"].tolist() == ["sub-01", "sub-01", "sub-03", "sub-03"]
    assert scans["days"].tolist() == [0, 203, 0, 671]
    assert scans["flair"][1] == f"{folder}/patient01/study2_FLAIR.nii.gz"
    assert scans["t1w"].tolist()[2:] == ["", f"{folder}/patient03/study2_T1W.nii.gz"]
    assert scans["change_mask"].tolist()[:2] == ["", f"{folder}/patient01/gt.nii.gz"]
    assert scans["brain_mask"].tolist()[:2] == [f"{folder}/patient01/brainmask.nii.gz"] * 2
    assert (scans["change_mask_transform"] == "").all()


def test_a_tree_is_not_taken_for_the_other(published):
    with pytest.raises(BadInput, match="--source open_ms_coregistered"):
        index_open_ms(published / "longitudinal" / "coregistered")
    with pytest.raises(BadInput, match=r"--source open_ms$"):
        index_open_ms_coregistered(published / "longitudinal" / "raw")


def test_what_is_left_out_is_logged(published, caplog):
    with caplog.at_level("INFO"):
        index_open_ms(published)
    assert "leave out patient02: no FLAIR of study 1" in caplog.text


def test_folder_without_patients_is_refused(tmp_path):
    with pytest.raises(BadInput, match="patient01"):
        index_open_ms(tmp_path)


def test_missing_days_are_refused(published):
    (published / "longitudinal" / "patient_info.csv").write_text("patient_id,sex,days_between_studies\n1,F,203\n")
    with pytest.raises(BadInput, match="patient03"):
        index_open_ms(published)
    (published / "longitudinal" / "patient_info.csv").unlink()
    with pytest.raises(BadInput, match=r"patient_info\.csv"):
        index_open_ms(published)


def test_mask_without_its_transform_is_refused(published):
    (published / "longitudinal" / "raw" / "patient01" / "study2_FLAIR_to_common_space.txt").unlink()
    with pytest.raises(BadInput, match="cannot be placed"):
        index_open_ms(published)


@pytest.mark.skipif(SHARED is None, reason="MSDIFF_SHARED (a folder with data/open_ms_data) is not set")
def test_real_folders_are_listed(tmp_path):
    table = index_open_ms(Path(str(SHARED)) / "data" / "open_ms_data")
    write_sheet(table, tmp_path / "sheet.tsv")
    scans = read_sheet(tmp_path / "sheet.tsv", ["flair", "t1w", "t2w"])
    assert scans["subject"].unique().tolist() == ["sub-01", "sub-03", "sub-12"]
    assert scans["days"].tolist() == [0, 203, 0, 671, 0, 81]
    assert (scans["t1w"] == "").tolist() == [False, False, True, False, False, False]


@pytest.mark.skipif(SHARED is None, reason="MSDIFF_SHARED (a folder with data/open_ms_data) is not set")
def test_real_transforms_lead_changes_to_bright_places():
    """By our reading of the file (mask space to FLAIR), changes are brighter in the follow-up than by its inverse."""
    table = index_open_ms(Path(str(SHARED)) / "data" / "open_ms_data")
    row = table[table["change_mask"] != ""].iloc[0]
    mask, flair = nib.load(row["change_mask"]), nib.load(row["flair"])
    points = np.argwhere(np.asanyarray(mask.dataobj) > 0) @ mask.affine[:3, :3].T + mask.affine[:3, 3]
    image = np.asanyarray(flair.dataobj)
    brightness = []
    transform = load_itk_affine(row["change_mask_transform"])
    for affine in (transform, np.linalg.inv(transform)):
        places = np.rint(transform_points(np.linalg.inv(flair.affine) @ affine, points)).astype(int)
        brightness.append(image[tuple(np.clip(places, 0, np.array(image.shape) - 1).T)].mean())
    assert brightness[0] > 1.05 * brightness[1]


@pytest.mark.skipif(SHARED is None, reason="MSDIFF_SHARED (a folder with data/open_ms_data) is not set")
def test_real_coregistered_masks_are_found(tmp_path, touch, sheet):
    """The real folders hold masks alone: with FLAIRs of the published names beside them they are listed."""
    real = Path(str(SHARED)) / "data" / "open_ms_data" / "longitudinal"
    (tmp_path / "patient_info.csv").symlink_to(real / "patient_info.csv")
    for folder in sorted((real / "coregistered").iterdir()):
        touch(tmp_path / "coregistered" / folder.name, "study1_FLAIR.nii.gz", "study2_FLAIR.nii.gz")
        for file in folder.iterdir():
            (tmp_path / "coregistered" / folder.name / file.name).symlink_to(file)
    scans = sheet("open_ms_coregistered", tmp_path, ["flair"])
    assert len(scans) == 22
    assert (scans["brain_mask"] != "").all()
    for row in scans[scans["session"] == "ses-study2"].itertuples():
        brain, change = load_mask(tmp_path / row.brain_mask), load_mask(tmp_path / row.change_mask)
        check_grid(change.grid, brain.grid, row.change_mask)


@pytest.mark.skipif(SHARED is None, reason="MSDIFF_SHARED (a folder with data/open_ms_data) is not set")
def test_real_coregistered_folders_without_images_are_refused():
    with pytest.raises(BadInput, match="fetch the images first"):
        index_open_ms_coregistered(Path(str(SHARED)) / "data" / "open_ms_data")
