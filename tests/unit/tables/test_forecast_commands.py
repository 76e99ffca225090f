"""The commands of the forecasts' tables, from folders to CSV."""

import json

import pytest

from msdiff.__main__ import main
from msdiff.tables.layout import read_table

SECTIONS = {
    "regional": {"predict": "ensemble", "threshold": "tuned"},
    "monte-carlo": {"runs": 3, "seed": 0},
    "calibration": {"edges": [0.0, 0.5, 1.0]},
}


@pytest.fixture
def call(slabs_folder, scores_folder, validation, tested, every_arm, voxels, table_settings, tmp_path):
    """A function that runs a command on the named scores and sections: its exit code, and its table."""
    folders = {
        "validation": scores_folder("validation", validation),
        "test": scores_folder("test", tested, voxels),
        "counterfactuals": scores_folder("counterfactuals", every_arm),
    }
    common = {"cohort": "trials", "slabs": slabs_folder, "settings": table_settings.model_dump_json()}

    def call(command, scores, sections=()):
        out = tmp_path / f"{command}.csv"
        values = common | {name: folders[name] for name in scores} | {"out": out}
        values |= {name: json.dumps(SECTIONS[name]) for name in sections}
        code = main([command, *(part for name, value in values.items() for part in (f"--{name}", str(value)))])
        return code, read_table(out)

    return call


@pytest.mark.parametrize(
    ("command", "scores", "sections", "ours", "papers"),
    [
        ("regional-accuracy", ["validation", "test"], ["regional", "monte-carlo"], 4, 4),
        ("activity-prediction", ["test"], ["monte-carlo"], 8, 12),
        ("lesion-count", ["test"], [], 8, 12),
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
