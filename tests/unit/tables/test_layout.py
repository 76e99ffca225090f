import pandas as pd
import pytest

from msdiff import settings
from msdiff.errors import BadInput, BadSettings
from msdiff.tables.layout import TableSettings, assemble, keys_of, read_table, with_intervals, write_table

SETTINGS = {
    "confidence_level": 0.95,
    "bootstrap_resamples": 10,
    "bootstrap_seed": 0,
    "patients_per_resample": None,
    "expected_cost": {
        "cost_false_positive": 10,
        "cost_false_negative": 1,
        "prior_negative": 0.99,
        "prior_positive": 0.01,
    },
    "lesion_size_edges_mm3": [14.0, 65.0],
    "figure_patients": 6,
    "quality_pictures": 12,
}


def test_the_keys_of_scores_stand_in_every_row():
    scores = pd.DataFrame({"mix": ["1-2", "1-2"], "seed": [0, 0], "subject": ["sub-1", "sub-2"]})
    assert keys_of(scores, ["mix", "seed"], "scores.tsv") == {"mix": "1-2", "seed": "0"}
    for column, got in {"subject": "sub-1, sub-2", "generator": "none"}.items():
        with pytest.raises(BadInput, match=rf"scores\.tsv: expected one value in the column {column}, got {got}; "):
            keys_of(scores, [column], "scores.tsv")


def test_intervals_follow_their_estimate():
    assert with_intervals(["a", "b"]) == ["a", "a_lo", "a_hi", "b", "b_lo", "b_hi"]


def test_numbers_have_six_digits_and_missing_is_empty(tmp_path):
    table = assemble([{"rule": "a", "x": 1 / 3, "n": 4}], [{"rule": "b", "n": 20000}], ["rule", "x", "n"])
    write_table(table, tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_text() == "source,rule,x,n\nmsdiff,a,0.333333,4\npaper,b,,20000\n"


def test_a_ratio_stays_text(tmp_path):
    write_table(assemble([{"real_synthetic": "1:0"}], [], ["real_synthetic"]), tmp_path / "table.csv")
    assert read_table(tmp_path / "table.csv")["real_synthetic"].tolist() == ["1:0"]


def test_settings_are_all_named():
    assert settings.check(TableSettings, SETTINGS).bootstrap_resamples == 10
    with pytest.raises(BadSettings, match="bootstrap_resamples"):
        settings.check(TableSettings, SETTINGS | {"bootstrap_resamples": 0})
    with pytest.raises(BadSettings, match="missing key 'bootstrap_seed'"):
        settings.check(TableSettings, {key: value for key, value in SETTINGS.items() if key != "bootstrap_seed"})
    with pytest.raises(BadSettings, match="ascending volumes"):
        settings.check(TableSettings, SETTINGS | {"lesion_size_edges_mm3": [65.0, 14.0]})
