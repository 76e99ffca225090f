import pandas as pd
import pytest

from msdiff.cohort.pairs import PairSettings, pair_scans
from msdiff.errors import BadInput

ANY = PairSettings(minimum_days=1, maximum_days=3650)


def scans(*rows):
    names = ["subject", "session", "days", "lesion_mask", "change_mask"]
    return pd.DataFrame(rows, columns=names).assign(arm="placebo", split="train")


def test_consecutive_scans_are_paired():
    table = scans(
        ("sub-2", "ses-a", 0, "", ""),
        ("sub-1", "ses-c", 700, "", "c"),
        ("sub-1", "ses-a", 0, "", ""),
        ("sub-1", "ses-b", 300, "", "b"),
        ("sub-2", "ses-b", 90, "", "d"),
    )
    pairs = pair_scans(table, ANY)
    assert pairs[["subject", "baseline_session", "follow_up_session", "interval_days"]].to_numpy().tolist() == [
        ["sub-1", "ses-a", "ses-b", 300],
        ["sub-1", "ses-b", "ses-c", 400],
        ["sub-2", "ses-a", "ses-b", 90],
    ]
    assert len(pair_scans(table, PairSettings(minimum_days=100, maximum_days=350))) == 1
    with pytest.raises(BadInput, match="500 to 600 days"):
        pair_scans(table, PairSettings(minimum_days=500, maximum_days=600))


def test_lesion_masks_of_both_scans_do_for_a_change_mask():
    assert len(pair_scans(scans(("sub-1", "ses-a", 0, "a", ""), ("sub-1", "ses-b", 9, "b", "")), ANY)) == 1
    with pytest.raises(BadInput, match="sub-1 ses-b: expected a change_mask"):
        pair_scans(scans(("sub-1", "ses-a", 0, "", ""), ("sub-1", "ses-b", 9, "b", "")), ANY)


def test_patients_with_one_session_make_no_pair():
    one, other = ("sub-1", "ses-a", 0, "a", ""), ("sub-2", "ses-a", 0, "b", "")
    assert pair_scans(scans(one, other, ("sub-2", "ses-b", 9, "c", "")), ANY)["subject"].tolist() == ["sub-2"]
    with pytest.raises(BadInput, match="expected patients with a follow-up, got 2 patients with one session each"):
        pair_scans(scans(one, other), ANY)
