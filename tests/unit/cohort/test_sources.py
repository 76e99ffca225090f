import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from msdiff.cohort.phantom_settings import PhantomSettings
from msdiff.cohort.sheets import read_sheet, write_sheet
from msdiff.cohort.sources import index_open_ms, index_phantom
from msdiff.errors import BadInput
from msdiff.settings import check
from msdiff.spaces import load_itk_affine, transform_points

SHARED = os.environ.get("MSDIFF_SHARED")
INFO = "patient_id,sex,days_between_studies\n1,F,203\n2,F,283\n3,M,671\n"


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


@pytest.fixture
def published(tmp_path):
    """Folders of the published names: patient02 lacks a FLAIR, patient03 its first T1W."""
    root = tmp_path / "open_ms_data"
    longitudinal = root / "longitudinal"
    for number, study, contrast in (
        (number, study, contrast) for number in (1, 2, 3) for study in (1, 2) for contrast in ("FLAIR", "T1W", "T2W")
    ):
        if (number, study, contrast) not in ((2, 1, "FLAIR"), (3, 1, "T1W")):
            touch(longitudinal / "raw" / f"patient{number:02d}" / f"study{study}_{contrast}.nii.gz")
    for number in (1, 2, 3):
        folder = longitudinal / "raw" / f"patient{number:02d}"
        touch(folder / "gt.nii.gz")
        touch(folder / "study1_FLAIR_to_common_space.txt")
        touch(folder / "study2_FLAIR_to_common_space.txt")
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


def test_folders_of_the_data_sets_own_description_are_listed(tmp_path):
    folder = tmp_path / "patient01"
    for study in (1, 2):
        touch(folder / "raw" / f"patient01_study{study}_FLAIR.nii.gz")
        touch(folder / f"patient01_study{study}_FLAIR_to_common_space.txt")
    touch(folder / "patient01_gt.nii.gz")
    (tmp_path / "patient_info.csv").write_text(INFO)
    table = index_open_ms(tmp_path)
    assert table["change_mask"].tolist() == ["", str(folder / "patient01_gt.nii.gz")]
    assert (table["t1w"] == "").all()


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


def test_phantom_is_listed_before_it_is_drawn(values, tmp_path):
    settings = check(PhantomSettings, values)
    write_sheet(index_phantom(tmp_path / "raw", settings, ["flair", "t1w"]), tmp_path / "sheet.tsv")
    scans = read_sheet(tmp_path / "sheet.tsv", ["flair", "t1w"], check_files=False)
    assert len(scans) == 6 * 3
    assert scans["days"].tolist()[:3] == [0, 336, 672]
    assert scans["arm"].tolist()[0] == "placebo"
    assert scans["arm"].tolist()[-1] == "high_efficacy"
    assert scans["flair"][0] == str(tmp_path / "raw" / "sub-0001" / "ses-w000_flair.nii.gz")
    assert scans["change_mask"].tolist()[0] == ""
    assert scans["change_mask"].tolist()[1].endswith("ses-w048_change_mask.nii.gz")


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
