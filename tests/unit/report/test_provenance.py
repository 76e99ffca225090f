import argparse
import hashlib
import json
import subprocess

import forecast_cases
import numpy as np
import pytest
from indexed import slab_files, stack_files

from msdiff.cli import provenance as command
from msdiff.errors import BadInput, BadSettings
from msdiff.report.provenance import commit, record

CONFIG = {"study": "phantom", "tables": {"bootstrap_seed": 7}, "detection": {"seeds": [0, 1]}, "a": [{"seed": 3}]}


def test_the_record_says_what_ran():
    entry = record(CONFIG)
    assert entry["seeds"] == {"tables.bootstrap_seed": 7, "detection.seeds": [0, 1], "a.0.seed": 3}
    assert entry["packages"]["numpy"] == np.__version__
    assert entry["date_utc"].endswith("+00:00")
    assert entry["config"] == CONFIG
    assert {"msdiff", "git", "python", "platform", "device", "config_sha256"} <= set(entry)


def test_the_digest_does_not_depend_on_the_order_of_keys():
    assert record(CONFIG)["config_sha256"] == record(dict(reversed(CONFIG.items())))["config_sha256"]


def test_a_checkout_has_a_commit_and_says_what_changed(tmp_path):
    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.example"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    assert commit(tmp_path) is None
    git("init", "-q")
    (tmp_path / "file").write_text("a")
    git("add", "file")
    git("commit", "-q", "-m", "first")
    clean = commit(tmp_path)
    assert len(clean["commit"]) == 40
    assert clean["dirty"] is False
    (tmp_path / "file").write_text("b")
    assert commit(tmp_path) == clean | {"dirty": True}


def run(*options):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    command.run(parser.parse_args([str(option) for option in options]))


def test_command_writes_the_record(tmp_path):
    run("--config", json.dumps(CONFIG), "--out", tmp_path / "provenance.json")
    assert json.loads((tmp_path / "provenance.json").read_text())["config"] == CONFIG


def test_data_weights_and_tables_are_known_by_their_digests(stack_folder, tables_folder, tmp_path):
    (tmp_path / "weights").write_bytes(b"weights")
    table, other = tables_folder / "augmentation.csv", tmp_path / "augmentation.csv"
    options = [
        "--config",
        json.dumps(CONFIG),
        "--stack",
        *stack_files(stack_folder),
        "--weights",
        f"net={tmp_path / 'weights'}",
    ]
    run(*options, "--sheet", stack_folder / "scans.tsv", "--tables", table, "--out", tmp_path / "first.json")
    first = json.loads((tmp_path / "first.json").read_text())["sha256"]
    assert first["weights"] == {"net": hashlib.sha256(b"weights").hexdigest()}
    assert first["tables"] == {"augmentation": hashlib.sha256(table.read_bytes()).hexdigest()}
    assert set(first["sheet"]) == {"scans.tsv"}
    assert len(first["stack"]) == 64
    other.write_text(table.read_text().replace("0.3", "0.4"))
    run(*options, "--tables", other, "--out", tmp_path / "second.json")
    second = json.loads((tmp_path / "second.json").read_text())["sha256"]
    assert second["tables"] != first["tables"]
    assert (second["stack"], second["weights"]) == (first["stack"], first["weights"])


def test_slabs_and_forecasters_are_recorded_where_a_run_has_some(tmp_path):
    forecast_cases.write_slabs(tmp_path / "slabs")
    (tmp_path / "weights").write_bytes(b"weights")
    options = ["--config", "{}", "--weights", f"two_sessions={tmp_path / 'weights'}"]
    run(*options, "--slabs", *slab_files(tmp_path / "slabs"), "--out", tmp_path / "with.json")
    digests = json.loads((tmp_path / "with.json").read_text())["sha256"]
    assert len(digests["slabs"]) == 64
    assert set(digests["weights"]) == {"two_sessions"}
    run(*options, "--out", tmp_path / "without.json")
    assert "slabs" not in json.loads((tmp_path / "without.json").read_text())["sha256"]


def test_what_is_not_there_is_not_recorded(tmp_path):
    with pytest.raises(BadInput, match="expected a file, cannot"):
        run("--config", "{}", "--weights", f"net={tmp_path / 'none'}", "--out", tmp_path / "provenance.json")
    with pytest.raises(BadInput, match="NAME=PATH"):
        run("--config", "{}", "--weights", tmp_path / "none", "--out", tmp_path / "provenance.json")


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_another_config_is_an_error(text, tmp_path):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    with pytest.raises(BadSettings, match=r"expected JSON|JSON object"):
        command.run(parser.parse_args(["--config", text, "--out", str(tmp_path / "provenance.json")]))
