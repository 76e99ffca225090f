"""The comparison of two runs' tables: equal, within rounding, different."""

from pathlib import Path

import pytest
from compare_results import main

TABLE = "source,n,mae\nmsdiff,4,0.0387337\nmsdiff,3,\n"
COSTS = "source,rule,jobs\nmsdiff,register,16\npaper,paper,\n"


def results(folder: Path, table: str = TABLE, costs: str = COSTS) -> Path:
    """A folder of results with two tables."""
    (folder / "tables").mkdir(parents=True)
    (folder / "tables/quality.csv").write_text(table)
    (folder / "tables/compute.csv").write_text(costs)
    return folder


@pytest.mark.parametrize(
    ("table", "code", "said"),
    [
        (TABLE, 0, "quality.csv: equal\n"),
        (TABLE.replace("0.0387337", "0.0387338"), 0, "quality.csv: equal within rounding\n"),
        (TABLE.replace("0.0387337", "0.0387357"), 1, "row 1, mae: 0.0387337 before, 0.0387357 now"),
        (TABLE.replace("msdiff,3,", "msdiff,3,0"), 1, "row 2, mae: empty before, 0 now"),
        (TABLE.replace("source,n", "source,patients"), 1, "only old ['n'], only new ['patients']"),
        (TABLE + "msdiff,2,1\n", 1, "2 rows before, 3 now"),
    ],
    ids=["equal", "rounding", "number", "empty", "column", "row"],
)
def test_tables_are_compared_cell_by_cell(
    table: str, code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(results(tmp_path / "old"), results(tmp_path / "new", table)) == code
    assert said in capsys.readouterr().out


def test_costs_are_compared_by_their_rules_and_only_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    renamed = COSTS.replace("register,16", "align,2")
    assert main(results(tmp_path / "old"), results(tmp_path / "new", costs=renamed)) == 0
    printed = capsys.readouterr().out
    assert "only old: register" in printed
    assert "only new: align" in printed


def test_a_missing_table_is_a_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = results(tmp_path / "old"), results(tmp_path / "new")
    (new / "tables/quality.csv").unlink()
    assert main(old, new) == 1
    assert f"missing in {new}" in capsys.readouterr().out
    assert main(tmp_path, new) == 1
