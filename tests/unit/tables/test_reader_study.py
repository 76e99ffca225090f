import numpy as np
import pandas as pd
import pytest

from msdiff.tables.layout import with_intervals
from msdiff.tables.reader_study import COLUMNS, reader_study_table

QUESTIONS = ["quality", "plausibility", "adherence"]


@pytest.fixture
def cases():
    """Four patients with a real and a synthetic case each; case 9 shows case 1 again."""
    rows = [
        (2 * patient + 1 + synthetic, ("real", "synthetic")[synthetic], ("", "long_ms_diff")[synthetic], patient, 0)
        for patient in range(4)
        for synthetic in (0, 1)
    ]
    frame = pd.DataFrame([*rows, (9, "real", "", 0, 1)], columns=["case", "kind", "generator", "patient", "repeat_of"])
    return frame.assign(subject="sub-" + frame["patient"].astype(str)).replace({"generator": {"": np.nan}})


def scored(cases, reader, scores):
    return cases.assign(reader=reader, **dict.fromkeys(QUESTIONS, scores))


def row(table, **wanted):
    found = table
    for name, value in wanted.items():
        found = found[found[name] == value]
    (only,) = found.to_dict("records")
    return only


def test_means_are_over_patients_and_a_difference_is_within_them(cases, table_settings):
    # The fourth patient's synthetic case is unanswered.
    answers = scored(cases, "a", [5, 4, 3, 2, 5, 3, 5, np.nan, 3])
    table = reader_study_table(answers, "phantom", table_settings)
    assert table.columns.tolist() == ["source", *COLUMNS]
    synthetic = row(table, source="msdiff", kind="synthetic")
    assert (synthetic["generator"], synthetic["n"], synthetic["cases"]) == ("long_ms_diff", 4, 4)
    assert synthetic["quality"] == pytest.approx(3)
    real = row(table, kind="real")
    assert (real["generator"], real["quality"]) == ("real_follow_up", pytest.approx(4.5))
    difference = row(table, kind="difference")
    assert difference["adherence"] == pytest.approx(3 - 4.5)
    assert difference["adherence_lo"] <= -1.5 <= difference["adherence_hi"] < 0


def test_slices_of_a_patient_are_averaged_first(cases, table_settings):
    more = cases[cases["case"] == 2].assign(case=[10])
    answers = scored(pd.concat([cases, more]), "a", [1, 1, 1, 5, 1, 5, 1, 5, 1, 3])
    assert row(reader_study_table(answers, "p", table_settings), source="msdiff", kind="synthetic")["quality"] == 17 / 4


def test_a_constant_offset_has_an_interval_without_width(cases, table_settings):
    answers = scored(cases, "a", [2, 1, 3, 2, 4, 3, 5, 4, 2])
    difference = row(reader_study_table(answers, "p", table_settings), kind="difference")
    assert [difference[name] for name in with_intervals(["quality"])] == pytest.approx([-1, -1, -1])


def test_repeats_count_for_consistency_alone(cases, table_settings):
    one, other = scored(cases, "a", [5, 4, 3, 2, 5, 3, 5, 3, 3]), scored(cases, "b", [4, 4, 3, 2, 5, 3, 5, 3, 4])
    table = reader_study_table(pd.concat([one, other]), "p", table_settings)
    assert row(table, reader="a", kind="real")["quality"] == pytest.approx(4.5)
    of_all = row(table, reader="all", kind="all")
    assert (of_all["n"], of_all["cases"], of_all["readers"], of_all["repeats"]) == (4, 8, 2, 1)
    assert of_all["quality_repeat_difference"] == pytest.approx(1)
    assert row(table, reader="b", kind="all")["quality_repeat_difference"] == 0
    assert np.isnan(of_all["quality"])


def test_readers_are_compared_and_stand_alone_where_there_are_several(cases, table_settings):
    one, other = scored(cases, "a", [5, 4, 3, 2, 5, 3, 5, 3, 3]), scored(cases, "b", [5, 4, 3, 1, 5, 3, 4, 3, 3])
    alone = reader_study_table(one, "p", table_settings)
    assert set(alone[alone["source"] == "msdiff"]["reader"]) == {"all"}
    assert np.isnan(row(alone, kind="all")["quality_agreement"])
    both = reader_study_table(pd.concat([one, other]), "p", table_settings)
    assert both[both["source"] == "msdiff"]["reader"].tolist() == ["all"] * 4 + ["a"] * 4 + ["b"] * 4
    assert 0.8 < row(both, reader="all", kind="all")["plausibility_agreement"] < 1
    assert row(both, source="msdiff", reader="all", kind="synthetic")["quality"] == pytest.approx((12 / 4 + 11 / 4) / 2)


def test_generators_have_rows_of_their_own(cases, table_settings):
    other = cases[cases["kind"] == "synthetic"].assign(generator="other", case=lambda frame: frame["case"] + 20)
    answers = scored(pd.concat([cases, other]), "a", [3] * 9 + [4] * 4)
    table = reader_study_table(answers, "p", table_settings)
    assert row(table, source="msdiff", generator="other", kind="difference")["quality"] == pytest.approx(1)
    assert row(table, source="msdiff", generator="long_ms_diff", kind="difference")["quality"] == pytest.approx(0)


def test_a_study_without_a_real_case_has_no_difference(cases, table_settings):
    table = reader_study_table(scored(cases, "a", 3)[cases["kind"] == "synthetic"], "p", table_settings)
    assert table[table["source"] == "msdiff"]["kind"].tolist() == ["synthetic", "all"]


def test_the_papers_radiologist_stands_below(cases, table_settings):
    (paper,) = (
        reader_study_table(scored(cases, "a", 3), "p", table_settings).query("source == 'paper'").to_dict("records")
    )
    assert [paper[name] for name in QUESTIONS] == [4.6, 4.2, 4.0]
    assert paper["readers"] == 1
    assert np.isnan(paper["n"])
