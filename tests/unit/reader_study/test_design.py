import numpy as np
import pandas as pd
import pytest

from msdiff.errors import BadInput
from msdiff.reader_study.design import SLICE, StudyExportSettings, plan_cases
from msdiff.settings import check

SETTINGS = {
    "seed": 1,
    "contrast": "flair",
    "cases": 40,
    "synthetic_share": 0.5,
    "both_of_a_slice": False,
    "minimum_change_mm2": 5.0,
    "slices_apart_mm": 9.0,
    "repeats": 6,
    "repeat_gap": 12,
    "convention": "radiological",
    "window": [-1.0, 1.0],
}
SLICE_MM = 3.0


def samples(generators=("a",), patients=8, slices=24):
    rows = [
        (generator, f"sub-{patient}", 2 * patient, 2 * patient + 1, number, 4.0 + number)
        for generator in generators
        for patient in range(patients)
        for number in range(slices)
    ]
    return pd.DataFrame(rows, columns=["generator", *SLICE, "change_mm2"])


def plan(generators=("a",), patients=8, **changes):
    return plan_cases(samples(generators, patients), SLICE_MM, check(StudyExportSettings, SETTINGS | changes))


def once(cases):
    return cases[cases["repeat_of"] == 0]


@pytest.mark.parametrize("seed", range(5))
def test_a_slice_is_shown_as_one_thing_only_and_slices_keep_apart(seed):
    cases = once(plan(seed=seed))
    assert len(cases) == 40
    assert not cases.duplicated(SLICE).any()
    for _, own in cases.groupby("subject"):
        assert np.diff(np.sort(own["slice"])).min() * SLICE_MM >= 9


@pytest.mark.parametrize(("share", "synthetic"), [(0.5, 20), (0.25, 10), (0.0, 0), (1.0, 40)])
def test_the_share_holds_over_all_and_within_patients(share, synthetic):
    cases = once(plan(synthetic_share=share))
    assert (cases["kind"] == "synthetic").sum() == synthetic
    own = cases.groupby("subject")["kind"].apply(lambda kinds: (kinds == "synthetic").sum())
    assert ((own - 5 * share).abs() < 1).all()


def test_patients_take_turns():
    assert set(once(plan(cases=19))["subject"].value_counts()) == {2, 3}


def test_generators_share_the_synthetic_cases_and_show_the_same_slices():
    cases = once(plan(("b", "a"), synthetic_share=0.6))
    assert cases["generator"].value_counts().to_dict() == {"a": 12, "b": 12, "": 16}
    only_one = pd.concat([samples(("a", "b"), patients=3), samples(("a",), patients=8)])
    shown = plan_cases(only_one.drop_duplicates(), SLICE_MM, check(StudyExportSettings, SETTINGS))
    assert set(shown["subject"]) == {"sub-0", "sub-1", "sub-2"}


def test_repeats_are_the_same_case_much_later():
    cases = plan()
    again = cases[cases["repeat_of"] > 0]
    assert len(again) == 6
    assert again["repeat_of"].is_unique
    first = cases.set_index("case").loc[again["repeat_of"]]
    assert (again["case"].to_numpy() - again["repeat_of"].to_numpy() > 12).all()
    columns = ["kind", "generator", *SLICE]
    assert (again[columns].to_numpy() == first[columns].to_numpy()).all()


def test_both_of_a_slice_come_far_apart():
    cases = once(plan(("a", "b"), cases=30, both_of_a_slice=True))
    assert (cases.groupby(SLICE)["generator"].agg(sorted).map(tuple) == ("", "a", "b")).all()
    assert cases.groupby(SLICE)["case"].apply(lambda own: np.diff(np.sort(own)).min()).min() >= 5


def test_neighbours_are_rarely_of_one_patient():
    subjects = once(plan(repeats=0))["subject"].to_numpy()
    # A random order has 40 / 8 in expectation.
    assert (subjects[1:] == subjects[:-1]).sum() <= 2


def test_small_changes_are_left_out_and_too_few_cases_are_all_taken(caplog):
    cases = plan(minimum_change_mm2=26.0, cases=100, slices_apart_mm=0.0, repeats=50, repeat_gap=13)
    assert set(cases["slice"]) == {22, 23}
    assert len(once(cases)) == 16
    assert len(cases) == 16 + 3
    assert "expected 100 slices to show, got 16" in caplog.text
    assert "expected 50 cases to show again, got room for 3" in caplog.text


def test_nothing_to_show_says_what_to_do():
    with pytest.raises(BadInput, match=r"lower reader_study\.export\.minimum_change_mm2"):
        plan(minimum_change_mm2=1000.0)


def test_the_seed_decides():
    assert plan().equals(plan())
    assert not plan().equals(plan(seed=2))
