import numpy as np
import pandas as pd
import pytest

from msdiff.tables.cohort import cohort_table

PROMISED = [
    *("source", "cohort", "arm", "n"),
    *("mean_net2_w048", "mean_net2_w096", "active_percent_w048", "active_percent_w096"),
]


@pytest.fixture
def slices():
    pairs = [
        ("sub-1", "high_efficacy", "ses-w048", 0),
        ("sub-2", "high_efficacy", "ses-w048", 1),
        ("sub-3", "placebo", "ses-w048", 6),
        ("sub-4", "placebo", "ses-w048", 0),
        ("sub-5", "", "ses-w048", 3),
    ]
    # Three slices of each pair carry the same count of the scan.
    rows = [(*pair, number) for pair in pairs for number in range(3)]
    return pd.DataFrame(rows, columns=["subject", "arm", "follow_up_session", "scan_change_count", "slice"])


def test_columns_are_those_promised(slices, table_settings):
    table = cohort_table({"phantom": slices}, table_settings)
    assert [column for column in table.columns if not column.endswith(("_lo", "_hi"))] == PROMISED


def test_known_answers(slices, table_settings):
    table = cohort_table({"phantom": slices}, table_settings)
    ours = table[table["source"] == "msdiff"].set_index("arm")
    assert ours.index.tolist() == ["placebo", "high_efficacy", "all"]
    assert ours["n"].tolist() == [2, 2, 5]
    assert ours["mean_net2_w048"].tolist() == [3, 0.5, 2]
    assert ours["active_percent_w048"].tolist() == [50, 50, 60]
    assert ours.loc["placebo", ["mean_net2_w048_lo", "mean_net2_w048_hi"]].tolist() == [0, 6]
    assert ours["mean_net2_w096"].isna().all()


def test_papers_rows_stand_beside(slices, table_settings):
    table = cohort_table({"phantom": slices}, table_settings)
    paper = table[table["source"] == "paper"].set_index("arm")
    assert paper.loc["placebo", "mean_net2_w048"] == 4.60
    assert paper.loc["all", "n"] == 1702
    assert paper.filter(regex="_(lo|hi)$").isna().all(axis=None)


def test_columns_follow_the_sessions_that_exist(slices, table_settings):
    later = slices.assign(follow_up_session="ses-w024", scan_change_count=1)
    table = cohort_table({"phantom": pd.concat([slices, later])}, table_settings)
    assert "mean_net2_w024" in table.columns
    ours = table[table["source"] == "msdiff"].set_index("arm")
    assert ours.loc["all", "mean_net2_w024"] == 1
    assert ours.loc["all", "n"] == 5


def test_order_of_slices_does_not_matter(slices, table_settings):
    shuffled = slices.sample(frac=1, random_state=3)
    pd.testing.assert_frame_equal(
        cohort_table({"phantom": slices}, table_settings), cohort_table({"phantom": shuffled}, table_settings)
    )


def test_a_cohort_without_arms_has_one_row(slices, table_settings):
    table = cohort_table({"open_ms": slices.assign(arm="")}, table_settings)
    assert table[table["source"] == "msdiff"]["arm"].tolist() == ["all"]
    missing = cohort_table({"open_ms": slices.assign(arm=np.nan)}, table_settings)
    pd.testing.assert_frame_equal(table, missing)


def test_every_cohort_has_its_rows(slices, table_settings):
    """The second cohort's session is a column of the first, too, where it is empty."""
    later = slices.assign(follow_up_session="ses-w096")
    table = cohort_table({"phantom": slices, "trials": later}, table_settings)
    ours = table[table["source"] == "msdiff"].set_index(["cohort", "arm"])
    assert [name for name, _ in ours.index] == ["phantom"] * 3 + ["trials"] * 3
    assert ours.loc[("trials", "all"), "mean_net2_w096"] == ours.loc[("phantom", "all"), "mean_net2_w048"] == 2
    assert ours.loc["phantom"]["mean_net2_w096"].isna().all()
    assert (table["source"] == "paper").sum() == 7
