import numpy as np
import pandas as pd
import pytest

from msdiff.tables.counterfactuals import counterfactuals_table

ARMS = ["placebo", "mild_efficacy", "high_efficacy"]
PROMISED = [
    *("source", "cohort", "arm", "n", "mean_predicted_count", "active_fraction"),
    *("count_difference_to_placebo", "active_difference_to_placebo", "fewer_lesions_share"),
]


@pytest.fixture
def rows(every_arm, table_settings):
    return counterfactuals_table(every_arm, ARMS, "trials", table_settings).set_index("arm")


def test_columns_are_those_promised(every_arm, table_settings):
    table = counterfactuals_table(every_arm, ARMS, "trials", table_settings)
    assert [column for column in table.columns if not column.endswith(("_lo", "_hi"))] == PROMISED
    assert table["source"].unique().tolist() == ["msdiff"]
    assert table["arm"].tolist() == ARMS


def test_known_answers(rows, tested):
    """Every patient keeps a half, or a third, of what he has under placebo."""
    under_placebo = tested["count_mean"].mean()
    assert rows["n"].tolist() == [60, 60, 60]
    assert rows["mean_predicted_count"].tolist() == pytest.approx([under_placebo / n for n in (1, 2, 3)])
    assert rows.loc["mild_efficacy", "count_difference_to_placebo"] == pytest.approx(-under_placebo / 2)
    active = tested["activity_probability"].mean()
    assert rows.loc["high_efficacy", "active_difference_to_placebo"] == pytest.approx(-active * 2 / 3)
    assert rows.loc["high_efficacy", "fewer_lesions_share"] == pytest.approx((tested["count_mean"] > 0).mean())
    assert rows.loc["placebo", "count_difference_to_placebo":].isna().all()


def test_pairing_narrows_the_interval(rows):
    """Half of what placebo has differs by half of it, patient by patient."""
    row, reference = rows.loc["mild_efficacy"], rows.loc["placebo"]
    paired = row["count_difference_to_placebo_hi"] - row["count_difference_to_placebo_lo"]
    spread = reference["mean_predicted_count_hi"] - reference["mean_predicted_count_lo"]
    assert paired == pytest.approx(spread / 2)


def test_patients_without_a_pair_are_left_out_of_the_difference(every_arm, table_settings):
    lone = every_arm[~((every_arm["arm"] == "placebo") & (every_arm["subject"] != every_arm["subject"].iloc[0]))]
    rows = counterfactuals_table(lone, ARMS, "trials", table_settings).set_index("arm")
    assert rows["n"].tolist() == [1, 60, 60]
    first = every_arm[every_arm["subject"] == every_arm["subject"].iloc[0]].set_index("arm")["count_mean"]
    expected = first["high_efficacy"] - first["placebo"]
    assert rows.loc["high_efficacy", "count_difference_to_placebo"] == pytest.approx(expected)
    assert np.isnan(rows.loc["high_efficacy", "count_difference_to_placebo_lo"])


def test_without_placebo_there_are_no_differences(every_arm, table_settings):
    treated = every_arm[every_arm["arm"] != "placebo"]
    rows = counterfactuals_table(treated, ARMS, "trials", table_settings).set_index("arm")
    assert rows["n"].tolist() == [0, 60, 60]
    assert rows.filter(regex="placebo|fewer").isna().all(axis=None)
    assert not pd.isna(rows.loc["high_efficacy", "active_fraction"])
