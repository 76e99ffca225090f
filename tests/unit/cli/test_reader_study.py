"""`python -m msdiff reader-study`: from shards to the table, without a browser."""

import json

import pandas as pd
import pytest
from reader_cases import SETTINGS, write_shards, write_stack

from msdiff.__main__ import main
from msdiff.reader_study.answers import ANSWERS

TABLES = {
    "confidence_level": 0.95,
    "bootstrap_resamples": 20,
    "bootstrap_seed": 7,
    "patients_per_resample": None,
    "expected_cost": {
        "cost_false_positive": 10,
        "cost_false_negative": 1,
        "prior_negative": 0.99,
        "prior_positive": 0.01,
    },
    "lesion_size_edges_mm3": [14.0, 65.0],
    "figure_patients": 3,
    "quality_pictures": 2,
}


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    """A function that exports the small study to a page and a key."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "stack").mkdir()
    write_stack(folder / "stack")
    shards = write_shards(folder / "stack", folder)
    inputs = ["--stack", str(folder / "stack"), "--shards", *map(str, shards)]

    def exported(page, key, **changes):
        words = ["--page", str(page), "--key", str(key), "--keys", str(key.parent / "keys")]
        return main(["reader-study", "export", *inputs, *words, "--settings", json.dumps(SETTINGS | changes)])

    return exported


def test_two_readers_come_to_the_table(export, tmp_path):
    key, answers, table = tmp_path / "key.tsv", tmp_path / "answers.tsv", tmp_path / "reader_study.csv"
    assert export(tmp_path / "reader/page.html", key) == 0
    cases = pd.read_csv(key, sep="\t", keep_default_na=False)
    files = []
    for reader, less in (("A", 0), ("B", 1)):
        score = 5 - less - (cases["kind"] == "synthetic")
        scored = cases[["study", "case"]].assign(reader=reader, quality=score, plausibility=score, adherence=4)
        files.append(tmp_path / f"{reader}.csv")
        scored.assign(comment="", seconds=3.5, time="")[ANSWERS].to_csv(files[-1], index=False)
    # Another page is exported meanwhile; these answers still find their key.
    assert export(tmp_path / "reader/page.html", key, seed=1) == 0
    words = ["--keys", str(tmp_path / "keys"), "--answers", *map(str, files), "--out", str(answers)]
    assert main(["reader-study", "import", *words, "--settings", json.dumps({"incomplete": "refuse"})]) == 0
    words = ["--input", "cohort", "phantom", "--input", "answers", str(answers), "--out", str(table)]
    assert main(["table", "reader_study", *words, "--settings", json.dumps({"tables": TABLES})]) == 0
    rows = pd.read_csv(table).query("source == 'msdiff' and reader == 'all'")
    differences = rows[rows["kind"] == "difference"]
    assert differences["generator"].tolist() == ["long_ms_diff", "other_model"]
    assert differences["quality"].tolist() == pytest.approx([-1, -1])
    assert rows[rows["kind"] == "real"]["quality"].tolist() == [4.5]


def test_the_same_settings_write_the_same_bytes(export, tmp_path):
    pages = [tmp_path / name / "page.html" for name in "ab"]
    keys = [tmp_path / name for name in ("a.tsv", "b.tsv")]
    assert [export(page, key) for page, key in zip(pages, keys, strict=True)] == [0, 0]
    assert pages[0].read_bytes() == pages[1].read_bytes()
    assert keys[0].read_bytes() == keys[1].read_bytes()


def test_a_key_beside_the_page_is_refused(export, tmp_path, capsys):
    assert export(tmp_path / "reader/page.html", tmp_path / "reader/key.tsv") == 2
    assert "expected a key outside of" in capsys.readouterr().err
    assert not (tmp_path / "reader").exists()
