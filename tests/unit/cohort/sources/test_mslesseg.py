import os
from pathlib import Path

import numpy as np
import pytest

from msdiff.cohort.pairs import PairSettings, pair_scans
from msdiff.cohort.sources.mslesseg import index_mslesseg
from msdiff.errors import BadInput
from msdiff.images import load_image, load_mask
from msdiff.stack.pairs import new_lesions

SHARED = os.environ.get("MSDIFF_SHARED")
CONTRASTS = ["flair", "t1w", "t2w"]
ANY = PairSettings(minimum_days=1, maximum_days=3650)
CLINICAL = "Patient;Timepoint;Age\nP2;T1;41,20\nP10;T1;30,00\nP10;T2;31,50\nP10;T3;31,75\nP54;T1;50,10\n"


@pytest.fixture
def published(tmp_path, touch):
    """P2 with one time point, P10 with three (the second without T2) and a mask alone, and a test patient."""
    root = tmp_path / "MSLesSeg Dataset"
    for patient, point, kinds in [
        ("P2", "T1", "FLAIR T1 T2 MASK"),
        ("P10", "T1", "FLAIR T1 T2 MASK"),
        ("P10", "T2", "FLAIR T1 MASK"),
        ("P10", "T3", "FLAIR T1 T2 MASK"),
        ("P10", "T4", "MASK"),
    ]:
        touch(root / "train" / patient / point, *[f"{patient}_{point}_{kind}.nii.gz" for kind in kinds.split()])
    touch(root / "test" / "P54", *[f"P54_{kind}.nii.gz" for kind in ("FLAIR", "T1", "T2", "MASK")])
    return root


def test_both_sets_are_listed(published, sheet, caplog):
    with caplog.at_level("INFO"):
        scans = sheet("mslesseg", published, CONTRASTS, interval_days=300)
    assert "leave out P10_T4: no FLAIR" in caplog.text
    assert list(zip(scans["subject"], scans["session"], scans["days"], strict=True)) == [
        ("sub-P10", "ses-T1", 0),
        ("sub-P10", "ses-T2", 300),
        ("sub-P10", "ses-T3", 600),
        ("sub-P2", "ses-T1", 0),
        ("sub-P54", "ses-T1", 0),
    ]
    assert scans["t2w"][1] == ""
    assert scans["t1w"][1] == "train/P10/T2/P10_T2_T1.nii.gz"
    assert scans["lesion_mask"][4] == "test/P54/P54_MASK.nii.gz"
    pairs = pair_scans(scans, ANY)
    assert pairs[["baseline_session", "follow_up_session"]].to_numpy().tolist() == [
        ["ses-T1", "ses-T2"],
        ["ses-T2", "ses-T3"],
    ]


def test_one_set_may_be_given(published, sheet):
    assert len(sheet("mslesseg", published / "train", CONTRASTS, interval_days=300)) == 4
    assert len(sheet("mslesseg", published / "test", CONTRASTS)) == 1


@pytest.mark.parametrize("below", ["", "train"])
def test_days_follow_the_ages(published, sheet, below):
    (published / "info_dataset").mkdir()
    (published / "info_dataset" / "clinical_data.csv").write_text(CLINICAL)
    scans = sheet("mslesseg", published / below, CONTRASTS)
    # 1.5 and 1.75 years.
    assert scans[scans["subject"] == "sub-P10"]["days"].tolist() == [0, 548, 639]
    scans = sheet("mslesseg", published / below, CONTRASTS, interval_days=365)
    assert scans[scans["subject"] == "sub-P10"]["days"].tolist() == [0, 365, 730]


def test_unknown_days_are_refused(published):
    with pytest.raises(BadInput, match="P10: nothing tells the days between its 3 sessions; give a nominal --interval"):
        index_mslesseg(published)
    with pytest.raises(BadInput, match="--interval-days: expected 1 or more, got 0"):
        index_mslesseg(published, 0)


def test_clinical_table_of_other_columns_is_refused(published):
    (published / "info_dataset").mkdir()
    (published / "info_dataset" / "clinical_data.csv").write_text("id,age\nP2,41\n")
    with pytest.raises(BadInput, match=r"clinical_data\.csv: expected columns Patient, Timepoint and Age"):
        index_mslesseg(published)


def test_folder_without_patients_is_refused(tmp_path, touch):
    with pytest.raises(BadInput, match="folders P1, P2"):
        index_mslesseg(tmp_path)
    touch(tmp_path / "P1" / "T1", "P1_T1_MASK.nii.gz")
    with pytest.raises(BadInput, match="fetch the images first"):
        index_mslesseg(tmp_path)


@pytest.mark.skipif(SHARED is None, reason="MSDIFF_SHARED (a folder with data/mslesseg) is not set")
def test_new_lesions_of_a_real_patient_are_derived(sheet):
    """What is new between the second and the third time point; docs/data.md has the table of all pairs."""
    root = Path(str(SHARED)) / "data" / "mslesseg"
    scans = sheet("mslesseg", root, CONTRASTS, interval_days=365)
    assert scans["session"].tolist() == ["ses-T1", "ses-T2", "ses-T3", "ses-T1"]
    pairs = pair_scans(scans, ANY)
    assert pairs["subject"].tolist() == ["sub-P14", "sub-P14"]
    grid = load_image(root / scans["flair"][0]).grid
    before, after = (np.asarray(load_mask(root / path, grid).data) for path in scans["lesion_mask"][1:3])
    new = new_lesions(before, after, grid, 9.0)
    assert not (new & before).any()
    assert not (new & ~after).any()
    assert 2_500 < new.sum() < 3_500
    assert 0 < (after & ~before).sum() - new.sum() < 400
