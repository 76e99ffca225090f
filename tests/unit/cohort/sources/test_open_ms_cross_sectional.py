import os
from pathlib import Path

import pytest

from msdiff.cohort.sources.open_ms_cross_sectional import index_open_ms_cross_sectional
from msdiff.errors import BadInput
from msdiff.images import load_image, load_mask

SHARED = os.environ.get("MSDIFF_SHARED")
CONTRASTS = ["flair", "t1w", "t2w", "t1ce"]
NAMES = ["FLAIR", "T1W", "T2W", "T1WKS"]
MNI = "{}_N4_noneck_reduced_winsor_regtoFLAIR_brain_N4_regtoMNI.nii.gz"
GOLD = "GOLD_STANDARD_N4_noneck_reduced_winsor_regtoFLAIR_regtoMNI.nii.gz"


@pytest.fixture
def published(tmp_path, touch):
    """Two patients in the four trees; patient02 lacks the enhanced T1W, patient03 its FLAIR."""
    root = tmp_path / "open_ms_data"
    for number in ("01", "02", "03"):
        gone = {"02": "T1WKS", "03": "FLAIR"}.get(number)
        images = [f"{name}.nii.gz" for name in NAMES if name != gone]
        for tree in ("raw", "coregistered", "coregistered_resampled"):
            touch(root / "cross_sectional" / tree / f"patient{number}", *images, "consensus_gt.nii.gz")
            if tree != "raw":
                touch(root / "cross_sectional" / tree / f"patient{number}", "brainmask.nii.gz")
    touch(
        root / "cross_sectional" / "MNI" / "patient01", *[MNI.format(n) for n in ("FLAIR", "T1", "T2", "T1POST")], GOLD
    )
    return root


@pytest.mark.parametrize("variant", ["raw", "coregistered", "coregistered_resampled"])
def test_one_session_each(published, sheet, variant):
    scans = sheet("open_ms_cross_sectional", published, CONTRASTS, variant=variant)
    folder = f"cross_sectional/{variant}/patient01"
    assert scans["subject"].tolist() == ["sub-01", "sub-02"]
    assert scans["days"].tolist() == [0, 0]
    assert scans[CONTRASTS].iloc[0].tolist() == [f"{folder}/{name}.nii.gz" for name in NAMES]
    assert scans["t1ce"][1] == ""
    assert scans["lesion_mask"][0] == f"{folder}/consensus_gt.nii.gz"
    assert scans["brain_mask"][0] == ("" if variant == "raw" else f"{folder}/brainmask.nii.gz")


def test_mni_scans_have_names_of_their_own(published, sheet):
    scans = sheet("open_ms_cross_sectional", published, CONTRASTS, variant="MNI")
    assert [Path(scans[contrast][0]).name.split("_")[0] for contrast in CONTRASTS] == ["FLAIR", "T1", "T2", "T1POST"]
    assert Path(scans["lesion_mask"][0]).name == GOLD


def test_raw_scans_are_taken_where_no_variant_is_named(published):
    assert "/raw/" in index_open_ms_cross_sectional(published)["flair"][0]


def test_folders_of_the_data_sets_own_description_are_listed(tmp_path, touch, sheet):
    own = [f"patient01_{name}.nii.gz" for name in NAMES]
    masks = ["patient01_consensus_gt.nii.gz", "patient01_brainmask.nii.gz"]
    touch(tmp_path / "patient01", *own, *masks, *[f"raw/{name}" for name in own])
    scans = sheet("open_ms_cross_sectional", tmp_path, CONTRASTS, variant="coregistered")
    assert scans["flair"].tolist() == ["patient01/patient01_FLAIR.nii.gz"]
    assert scans["brain_mask"].tolist() == ["patient01/patient01_brainmask.nii.gz"]
    scans = sheet("open_ms_cross_sectional", tmp_path, CONTRASTS, variant="raw")
    assert scans["t1ce"].tolist() == ["patient01/raw/patient01_T1WKS.nii.gz"]
    assert scans["lesion_mask"].tolist() == ["patient01/patient01_consensus_gt.nii.gz"]


def test_patients_without_flair_are_named(published, caplog):
    with caplog.at_level("INFO"):
        index_open_ms_cross_sectional(published)
    assert "leave out patient03: no FLAIR" in caplog.text


def test_what_does_not_fit_is_refused(published, tmp_path):
    with pytest.raises(BadInput, match="--variant: expected one of raw, coregistered"):
        index_open_ms_cross_sectional(published, "mni")
    with pytest.raises(BadInput, match="take --variant coregistered"):
        index_open_ms_cross_sectional(published / "cross_sectional" / "coregistered", "raw")
    with pytest.raises(BadInput, match="patient01"):
        index_open_ms_cross_sectional(tmp_path / "none")


@pytest.mark.skipif(SHARED is None, reason="MSDIFF_SHARED (a folder with data/open_ms_data) is not set")
def test_real_scans_lie_on_the_grid_of_their_lesions(sheet):
    root = Path(str(SHARED)) / "data" / "open_ms_data"
    scans = sheet("open_ms_cross_sectional", root, CONTRASTS, variant="MNI")
    assert scans["subject"].tolist() == ["sub-07", "sub-19"]
    assert (scans[[*CONTRASTS, "lesion_mask"]] != "").all(axis=None)
    load_mask(root / scans["lesion_mask"][0], load_image(root / scans["flair"][0]).grid)
