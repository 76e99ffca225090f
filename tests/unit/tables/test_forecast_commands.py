"""The forecasts' tables, from folders to CSV."""

import json

import pytest
from indexed import slab_files

from msdiff.__main__ import main
from msdiff.tables.layout import read_table

SECTIONS = {
    "forecasting.regional": {"predict": "ensemble", "threshold": "tuned"},
    "forecasting.monte_carlo": {"runs": 3, "seed": 0},
    "forecasting.calibration": {"edges": [0.0, 0.5, 1.0]},
}


@pytest.fixture
def call(slabs_folder, scores_folder, validation, tested, every_arm, voxels, table_settings, tmp_path):
    """A function that makes a table of the named scores and sections: its exit code, and its table."""
    folders = {
        "validation": scores_folder("validation", validation),
        "test": scores_folder("test", tested, voxels),
        "counterfactuals": scores_folder("counterfactuals", every_arm),
    }

    def call(table, scores, sections=()):
        out = tmp_path / f"{table}.csv"
        inputs = {"cohort": "trials"} | {name: folders[name] for name in scores}
        options = [str(word) for name, value in inputs.items() for word in ("--input", name, value)]
        options += ["--input", "slabs", *slab_files(slabs_folder)]
        values = {f"forecasting.{name}": SECTIONS[f"forecasting.{name}"] for name in sections}
        values |= {"tables": table_settings.model_dump()}
        return main(["table", table, *options, "--out", str(out), "--settings", json.dumps(values)]), read_table(out)

    return call


@pytest.mark.parametrize(
    ("command", "scores", "sections", "ours", "papers"),
    [
        ("regional_accuracy", ["validation", "test"], ["regional", "monte_carlo"], 4, 4),
        ("activity_prediction", ["test"], ["monte_carlo"], 8, 12),
        ("lesion_count", ["test"], [], 8, 12),
        ("counterfactuals", ["counterfactuals"], [], 3, 0),
        ("calibration", ["test"], ["calibration"], 6, 0),
    ],
)
def test_a_command_writes_its_table(call, command, scores, sections, ours, papers):
    code, table = call(command, scores, sections)
    assert code == 0
    assert table["source"].value_counts().to_dict() == {"msdiff": ours} | ({"paper": papers} if papers else {})
    assert table.columns[0] == "source"
    assert (table[table["source"] == "msdiff"]["cohort"] == "trials").all()
    estimates = [name for name in table.columns if f"{name}_lo" in table.columns]
    first = table.iloc[0 if command != "counterfactuals" else 1]
    assert all(first[f"{name}_lo"] <= first[name] <= first[f"{name}_hi"] for name in estimates)
