import pytest

from msdiff.cohort.pairs import PairSettings, pair_scans
from msdiff.cohort.sources.msseg2 import index_msseg2
from msdiff.errors import BadInput


@pytest.fixture
def published(tmp_path, touch):
    """Three training patients: the second not compressed, the third without its first FLAIR."""
    truths = ["ground_truth", *[f"ground_truth_expert{number}" for number in (1, 2, 3, 4)]]
    for patient, times, extension in [("013", (1, 2), ".nii.gz"), ("015", (1, 2), ".nii"), ("016", (2,), ".nii.gz")]:
        flairs = [f"flair_time{time:02d}_on_middle_space" for time in times]
        touch(tmp_path / "MSSEG-2" / "training" / patient, *[f"{name}{extension}" for name in (*flairs, *truths)])
    return tmp_path / "MSSEG-2"


@pytest.mark.parametrize("below", ["", "training"])
def test_both_times_and_the_consensus_are_listed(published, sheet, caplog, below):
    with caplog.at_level("INFO"):
        scans = sheet("msseg2", published / below, ["flair"], base=published / "training", interval_days=500)
    assert "leave out 016: no FLAIR of time 1" in caplog.text
    assert scans["subject"].tolist() == ["sub-013", "sub-013", "sub-015", "sub-015"]
    assert scans["session"].tolist() == ["ses-time01", "ses-time02"] * 2
    assert scans["days"].tolist() == [0, 500] * 2
    assert scans["flair"][0] == "013/flair_time01_on_middle_space.nii.gz"
    assert scans["change_mask"].tolist() == ["", "013/ground_truth.nii.gz", "", "015/ground_truth.nii"]
    pairs = pair_scans(scans, PairSettings(minimum_days=1, maximum_days=3650))
    assert pairs["interval_days"].tolist() == [500, 500]


def test_one_experts_masks_may_be_chosen(published, sheet):
    scans = sheet("msseg2", published, ["flair"], interval_days=500, rater=4)
    assert scans["change_mask"][1] == "training/013/ground_truth_expert4.nii.gz"


def test_what_does_not_fit_is_refused(published, tmp_path, touch):
    with pytest.raises(BadInput, match="--rater: expected 1 to 4, or none for the consensus, got 5"):
        index_msseg2(published, 500, 5)
    with pytest.raises(BadInput, match="folders 013, 015"):
        index_msseg2(tmp_path / "none", 500)
    touch(tmp_path / "021", "flair_time01_on_middle_space.nii.gz")
    with pytest.raises(BadInput, match="fetch the images first"):
        index_msseg2(tmp_path, 500)
