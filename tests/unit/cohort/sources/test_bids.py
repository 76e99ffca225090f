import numpy as np
import pytest

from msdiff.cohort.sources.bids import index_bids
from msdiff.errors import BadInput
from msdiff.images import Volume, save

CONTRASTS = ["flair", "t1w", "t2w", "t1ce", "pdw"]


@pytest.fixture
def images():
    """A function that writes small images of these names; those of a T1w space on another grid."""

    def write(root, *names):
        for name in names:
            affine = np.diag([2.0, 2.0, 2.0, 1.0]) if "space-T1w" in name else np.eye(4)
            save(Volume(np.zeros((2, 3, 4), dtype=np.uint8), affine), root / name)

    return write


@pytest.fixture
def raw(tmp_path, images):
    """sub-01 with two visits, sub-02 with one and no session folder; masks under derivatives."""
    root = tmp_path / "bids"
    for session in ("M0", "M12"):
        stem = f"sub-01/ses-{session}/anat/sub-01_ses-{session}"
        images(root, *[f"{stem}_{suffix}.nii.gz" for suffix in ("FLAIR", "T1w", "ce-gadolinium_T1w", "PDw")])
        images(root / "derivatives" / "manual", f"{stem}_label-lesion_mask.nii.gz", f"{stem}_desc-brain_mask.nii.gz")
        images(root / "derivatives" / "manual", f"{stem}_space-T1w_label-lesion_mask.nii.gz")
    images(root, "sub-02/anat/sub-02_FLAIR.nii", "sub-02/anat/sub-02_T2w.nii")
    (root / "sub-01" / "sub-01_sessions.tsv").write_text(
        "session_id\tacq_time\nses-M0\t2019-03-01T10:00:00\nses-M12\t2020-03-05T09:00:00\n"
    )
    (root / "participants.tsv").write_text("participant_id\tdrug\nsub-01\tplacebo\nsub-02\tn/a\n")
    return root


def test_raw_data_set_is_listed(raw, sheet):
    scans = sheet("bids", raw, CONTRASTS, arm_column="drug")
    assert scans["subject"].tolist() == ["sub-01", "sub-01", "sub-02"]
    assert scans["session"].tolist() == ["ses-M0", "ses-M12", "ses-1"]
    assert scans["days"].tolist() == [0, 370, 0]
    assert scans["arm"].tolist() == ["placebo", "placebo", ""]
    stem = "sub-01/ses-M12/anat/sub-01_ses-M12"
    suffixes = ["FLAIR.nii.gz", "T1w.nii.gz", None, "ce-gadolinium_T1w.nii.gz", "PDw.nii.gz"]
    assert scans[CONTRASTS].iloc[1].tolist() == [f"{stem}_{suffix}" if suffix else "" for suffix in suffixes]
    assert scans["t2w"][2] == "sub-02/anat/sub-02_T2w.nii"
    assert scans["lesion_mask"].tolist()[1:] == [f"derivatives/manual/{stem}_label-lesion_mask.nii.gz", ""]
    assert scans["brain_mask"][1] == f"derivatives/manual/{stem}_desc-brain_mask.nii.gz"


def test_a_pipelines_folder_is_listed(raw, images, sheet):
    pipeline = "derivatives/prep"
    for session in ("M0", "M12"):
        stem = f"{pipeline}/sub-01/ses-{session}/anat/sub-01_ses-{session}"
        images(raw, f"{stem}_space-T1w_desc-preproc_FLAIR.nii.gz", f"{stem}_desc-preproc_T1w.nii.gz")
    scans = sheet("bids", raw / pipeline, CONTRASTS, base=raw, arm_column="drug")
    assert scans["days"].tolist() == [0, 370]
    assert scans["arm"].tolist() == ["placebo"] * 2
    assert scans["flair"][0] == f"{pipeline}/sub-01/ses-M0/anat/sub-01_ses-M0_space-T1w_desc-preproc_FLAIR.nii.gz"
    masks = "derivatives/manual/sub-01/ses-M0/anat/sub-01_ses-M0"
    assert scans["lesion_mask"][0] == f"{masks}_space-T1w_label-lesion_mask.nii.gz"
    assert scans["brain_mask"][0] == ""


def test_masks_on_another_grid_are_left_out_and_named(raw, caplog):
    with caplog.at_level("INFO"):
        index_bids(raw)
    assert "sub-01_ses-M0_space-T1w_label-lesion_mask.nii.gz: not on the grid of sub-01_ses-M0_FLAIR" in caplog.text


def test_enhancing_masks_are_masks_of_their_own(raw, images, sheet):
    images(raw / "sub-02" / "anat", "sub-02_label-enhancing_mask.nii.gz")
    scans = sheet("bids", raw, CONTRASTS)
    assert scans["enhancing_mask"][2] == "sub-02/anat/sub-02_label-enhancing_mask.nii.gz"
    assert scans["lesion_mask"][2] == ""


@pytest.mark.parametrize("name", ["desc-lesion_mask", "label-L_mask", "label-Lesion_desc-rater1_mask"])
def test_lesion_masks_go_by_several_names(raw, images, sheet, name):
    images(raw, f"sub-02/anat/sub-02_{name}.nii.gz", "sub-02/anat/sub-02_label-WM_mask.nii.gz")
    assert sheet("bids", raw, CONTRASTS)["lesion_mask"][2] == f"sub-02/anat/sub-02_{name}.nii.gz"


def test_the_first_of_several_runs_is_taken_and_named(raw, images, sheet, caplog):
    images(raw, "sub-02/anat/sub-02_run-1_T1w.nii", "sub-02/anat/sub-02_run-2_T1w.nii")
    with caplog.at_level("INFO"):
        scans = sheet("bids", raw, CONTRASTS)
    assert scans["t1w"][2] == "sub-02/anat/sub-02_run-1_T1w.nii"
    assert "sub-02 ses-1: t1w: take" in caplog.text
    assert "sub-02_run-1_T1w.nii, the first of 2" in caplog.text


def test_days_may_be_a_column(raw, sheet):
    (raw / "sub-01" / "sub-01_sessions.tsv").write_text("session_id\tdays\nses-M0\t-5\nses-M12\t360\n")
    assert sheet("bids", raw, CONTRASTS)["days"].tolist() == [0, 365, 0]


def test_days_may_come_of_the_scans_tables(raw, sheet):
    (raw / "sub-01" / "sub-01_sessions.tsv").unlink()
    for session, day in (("M0", "2019-03-01"), ("M12", "2019-03-31T08:00:00Z")):
        table = raw / "sub-01" / f"ses-{session}" / f"sub-01_ses-{session}_scans.tsv"
        table.write_text(f"filename\tacq_time\nanat/sub-01_ses-{session}_FLAIR.nii.gz\t{day}\n")
    assert sheet("bids", raw, CONTRASTS)["days"].tolist() == [0, 30, 0]


def test_sessions_that_do_not_sort_by_time_are_numbered(raw, images, sheet, caplog):
    images(raw, "sub-01/ses-M6/anat/sub-01_ses-M6_FLAIR.nii.gz")
    with caplog.at_level("INFO"):
        scans = sheet("bids", raw, CONTRASTS, interval_days=180)
    assert scans["session"].tolist()[:3] == ["ses-01M0", "ses-02M6", "ses-03M12"]
    assert scans["days"].tolist() == [0, 180, 360, 0]
    assert "sub-01: sessions do not sort by time" in caplog.text


def test_sessions_without_flair_are_named(raw, images, caplog):
    images(raw, "sub-02/ses-M6/anat/sub-02_ses-M6_T1w.nii.gz")
    with caplog.at_level("INFO"):
        assert len(index_bids(raw)) == 3
    assert "leave out sub-02 ses-M6: no FLAIR" in caplog.text


def test_what_does_not_fit_is_refused(raw, tmp_path):
    with pytest.raises(
        BadInput, match=r"--arm-column: expected a column of .*participants\.tsv \(participant_id, drug\)"
    ):
        index_bids(raw, arm_column="arm")
    sessions = raw / "sub-01" / "sub-01_sessions.tsv"
    sessions.write_text("session_id\tacq_time\nses-M0\tspring\nses-M12\tautumn\n")
    with pytest.raises(BadInput, match="sub-01 ses-M0: expected acq_time as 2020-01-31, got 'spring'"):
        index_bids(raw)
    sessions.write_text("session_id\tacq_time\nses-M0\tn/a\nses-M12\tn/a\n")
    with pytest.raises(BadInput, match="sub-01: nothing tells the days between its 2 sessions"):
        index_bids(raw)
    (tmp_path / "empty" / "sub-01" / "anat").mkdir(parents=True)
    with pytest.raises(BadInput, match="expected FLAIR images"):
        index_bids(tmp_path / "empty")
    with pytest.raises(BadInput, match="folders sub-01"):
        index_bids(tmp_path / "none")


def test_arms_without_participants_are_refused(raw):
    (raw / "participants.tsv").unlink()
    with pytest.raises(BadInput, match=r"participants\.tsv: expected a tab-separated table"):
        index_bids(raw, arm_column="drug")
