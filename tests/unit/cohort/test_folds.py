import pandas as pd
import pytest

from msdiff.cohort.folds import make_fold
from msdiff.errors import BadInput, BadSettings
from msdiff.settings import Choice

LEAVE_ONE_OUT = Choice(backend="leave_one_out", options={})


def cohort(*arms):
    """Scans of patients 1, 2, 3 ... of these arms, two of each."""
    rows = [(str(number), session, arm, "") for number, arm in enumerate(arms, start=1) for session in ("a", "b")]
    return pd.DataFrame(rows, columns=["subject", "session", "arm", "split"])


def folds(scans, choice, count):
    """Sets by fold: the patients of train, validation and test."""
    tables = [make_fold(scans, choice, str(number)) for number in range(1, count + 1)]
    names = ("train", "validation", "test")
    return [tuple("".join(table.loc[table["split"] == name, "subject"]) for name in names) for table in tables]


def test_leave_one_out_of_five_patients_gives_the_folds_of_mssegdiff():
    """Rondinella et al. 2026: train, validation and test of the five patients of ISBI 2015."""
    published = [("123", "4", "5"), ("125", "3", "4"), ("145", "2", "3"), ("345", "1", "2"), ("234", "5", "1")]
    assert folds(cohort(*"xxxxx"), LEAVE_ONE_OUT, 5) == published
    with pytest.raises(BadSettings, match="expected one of 1, 2, 3, 4, 5, got '6'"):
        make_fold(cohort(*"xxxxx"), LEAVE_ONE_OUT, "6")


def test_leave_one_out_needs_three_patients():
    with pytest.raises(BadInput, match=r"expected three patients or more, .*got 2"):
        make_fold(cohort("x", "x"), LEAVE_ONE_OUT, "1")


@pytest.mark.parametrize("seed", range(3))
def test_k_fold_tests_every_patient_once_and_spreads_the_arms(seed):
    arms = ["x"] * 4 + ["y"] * 4 + ["z"] * 1
    choice = Choice(backend="k_fold", options={"folds": 4, "seed": seed})
    made = folds(cohort(*arms), choice, 4)
    assert sorted("".join(test for _, _, test in made)) == list("123456789")
    assert sorted("".join(validation for _, validation, _ in made)) == list("123456789")
    for train, validation, test in made:
        assert sorted(train + validation + test) == list("123456789")
        assert {arms[int(subject) - 1] for subject in test} >= {"x", "y"}


def test_the_seed_decides_who_is_in_which_fold():
    choices = [Choice(backend="k_fold", options={"folds": 3, "seed": seed}) for seed in (0, 0, 1)]
    one, again, other = (folds(cohort(*"xxxxxxxxx"), choice, 3) for choice in choices)
    assert one == again != other


def test_more_folds_than_patients_are_refused():
    choice = Choice(backend="k_fold", options={"folds": 4, "seed": 0})
    with pytest.raises(BadSettings, match=r"at most as many folds as patients \(3\), got 4"):
        make_fold(cohort(*"xxx"), choice, "1")
    with pytest.raises(BadSettings, match=r"folds\.k_fold: folds: .*greater than or equal to 3"):
        make_fold(cohort(*"xxx"), Choice(backend="k_fold", options={"folds": 2, "seed": 0}), "1")


LISTED = "one 1 train, one 2 validation, one 3 test, two 1 test, two 2 train, two 3 train"


def listed(path, text):
    """The choice of folds that are listed as `fold subject split`, with commas between."""
    rows = [row.split() for row in text.split(",")]
    pd.DataFrame(rows, columns=["fold", "subject", "split"]).to_csv(path, sep="\t", index=False)
    return Choice(backend="list", options={"path": str(path)})


def test_folds_of_a_list_are_taken_as_they_are(tmp_path):
    table = make_fold(cohort(*"xxx"), listed(tmp_path / "folds.tsv", LISTED), "two")
    assert dict(zip(table["subject"], table["split"], strict=True)) == {"1": "test", "2": "train", "3": "train"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("two 3 train", "two 4 train"), "fold two: patient 4 is not in the scan sheet"),
        (("two 3 train", "two 2 test"), "fold two: patient 2 is listed twice"),
        ((", two 3 train", ""), "fold two: expected a row for every patient, got none for 3"),
        (("one 1 train", "one 1 training"), "fold one: 1: expected train, validation, test, got 'training'"),
    ],
)
def test_a_list_that_does_not_fit_the_sheet_is_refused(tmp_path, change, message):
    choice = listed(tmp_path / "folds.tsv", LISTED.replace(*change))
    with pytest.raises(BadInput, match=f"folds.tsv: {message}"):
        make_fold(cohort(*"xxx"), choice, "one")


def test_a_list_that_is_missing_or_lacks_a_column_is_refused(tmp_path):
    choice = Choice(backend="list", options={"path": str(tmp_path / "folds.tsv")})
    with pytest.raises(BadInput, match="expected a tab-separated list"):
        make_fold(cohort(*"xxx"), choice, "1")
    (tmp_path / "folds.tsv").write_text("subject\tsplit\n")
    with pytest.raises(BadInput, match="missing columns fold"):
        make_fold(cohort(*"xxx"), choice, "1")


def test_an_unknown_way_of_making_folds_is_refused():
    with pytest.raises(BadSettings, match="expected one of split, leave_one_out, k_fold, list"):
        make_fold(cohort(*"xxx"), Choice(backend="leave_two_out", options={}), "1")
