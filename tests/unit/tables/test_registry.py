import json

import pytest

from msdiff.__main__ import main
from msdiff.report.page_tables import CAPTIONS
from msdiff.tables import registry

NAMES = registry.names()


def test_the_modules_with_a_declaration_are_the_tables():
    assert {"cohort", "compute", "lesions", "regional_accuracy", "reader_study"} <= set(NAMES)
    assert not {"layout", "estimates", "published", "registry", "detector_runs", "forecasts"} & set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_table_has_a_title_and_a_caption(name):
    assert registry.declared(name).title
    assert (CAPTIONS / f"{name}.rst").read_text().strip()


def refused(capsys, *words, sections="{}"):
    out = ["--out", "table.csv", "--settings", sections]
    assert main(["table", *words, *out]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    return line


def test_an_unknown_table_is_answered_with_the_names(capsys):
    for name in ("no_such_table", "layout", "os", "../tables"):
        assert f"expected one of {', '.join(NAMES)}; got '{name}'" in refused(capsys, name)


def test_missing_or_unknown_inputs_and_sections_are_refused(capsys, tmp_path, table_settings):
    line = refused(capsys, "compute")
    assert "table compute: expected the inputs benchmarks; got none" in line
    benchmarks = ["compute", "--input", "benchmarks", str(tmp_path)]
    assert "got benchmarks, cohort" in refused(capsys, *benchmarks, "--input", "cohort", "phantom")
    line = refused(capsys, *benchmarks, sections=json.dumps({"tables": table_settings.model_dump()}))
    assert "table compute: expected the sections (none); got tables" in line
    assert "expected sections as JSON" in refused(capsys, *benchmarks, sections="[1]")
    assert "expected one value, got 2" in refused(capsys, *benchmarks, "another")


def test_a_wrong_setting_is_named_by_its_section(capsys, tmp_path, table_settings):
    sections = json.dumps({"tables": table_settings.model_dump() | {"bootstrap_resamples": 0}})
    inputs = ["--input", "scores", str(tmp_path / "scores.tsv"), "--input", "cohort", "phantom"]
    assert "tables: bootstrap_resamples" in refused(capsys, "image_quality", *inputs, sections=sections)
