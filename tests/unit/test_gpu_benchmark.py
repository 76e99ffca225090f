"""The call that measures on an accelerator: what it asks for, what it keeps, and that it runs through on a CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from msdiff.config_files import laid_over, merged_config

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks/gpu.py"


@pytest.fixture(scope="module")
def gpu():
    sys.path.insert(0, str(SCRIPT.parent))
    try:
        import gpu

        yield gpu
    finally:
        sys.path.remove(str(SCRIPT.parent))


@pytest.fixture
def call(gpu, monkeypatch, tmp_path, capsys):
    """A function that calls the script with the given items instead of its own; what it printed, and what it kept."""

    def called(items, *options):
        monkeypatch.setattr(gpu, "all_items", lambda: {name: gpu.Item(*item) for name, item in items.items()})
        monkeypatch.setattr(sys, "argv", ["gpu.py", "--tiny", "--out", str(tmp_path / "gpu.json"), *options])
        gpu.main()
        return capsys.readouterr().out, json.loads((tmp_path / "gpu.json").read_text())

    return called


@pytest.fixture
def answers(gpu, monkeypatch):
    """Items answer at once, each with its own row; the items that were run are listed."""
    ran = []

    def alone(name, run, left, options):
        ran.append(name)
        found = {"rows": [gpu.row("all", name, result="3.5")], "device": "a device", "peak": 1e15, "done": True}
        return {"error": "failed (exit code 1): out of memory", "done": True} if name == "broken" else found

    monkeypatch.setattr(gpu, "alone", alone)
    return ran


@pytest.mark.parametrize("size", ["demo", "paper"])
@pytest.mark.parametrize("system", ["long_ms_diff", "net2"])
def test_a_short_training_asks_for_what_the_schema_allows(gpu, size, system):
    run = gpu.Run(size, Path("/run"), 12, 3)
    asked = laid_over(gpu.patients(run), gpu.SYSTEMS[system].overlay(run))
    config = merged_config(asked, size=size)
    schema = json.loads((ROOT / "workflow/schemas/config.schema.json").read_text())
    assert [error.message for error in Draft202012Validator(schema).iter_errors(config)] == []
    assert sum(config["cohort"]["trials"]["phantom"]["arms"].values()) == 3 * len(config["forecasting"]["arms"])
    assert gpu.training(run)["steps"] == 12


def test_the_systems_are_those_of_the_config(gpu):
    schema = json.loads((ROOT / "workflow/schemas/config.schema.json").read_text())
    assert sorted(gpu.SYSTEMS) == sorted(schema["properties"]["systems"]["items"]["enum"])


def test_each_system_has_its_memory_its_sampling_and_its_training(gpu):
    names = list(gpu.all_items())
    for system in gpu.SYSTEMS:
        assert [f"{what}:{system}" in names for what in ("memory", "sampling", "training")] == [True] * 3
    assert names[0] == "tests"


def test_what_the_file_holds_is_not_measured_again_unless_asked(call, answers):
    items = dict.fromkeys(("tests", "networks"), (0.0, None))
    call(items, "--items", "tests")
    text, kept = call(items)
    assert answers == ["tests", "networks"]
    assert text.splitlines()[0] == "a device; peak of matrix products 1e+03 TFLOP/s"
    assert list(kept) == ["tests", "networks"]
    call(items, "--again", "networks")
    call(items, "--again")
    assert answers == ["tests", "networks", "networks", "tests", "networks"]


def test_an_item_that_fails_is_named_and_the_others_are_run(call, answers):
    text, kept = call(dict.fromkeys(("broken", "tests"), (0.0, None)))
    assert answers == ["broken", "tests"]
    assert "| all | broken |  |  | failed (exit code 1): out of memory |" in text
    assert "| all | tests |  |  | 3.5 |" in text
    assert kept["broken"]["done"]


def test_an_item_that_does_not_fit_is_left_named_and_made_by_the_next_call(call, answers, gpu, monkeypatch):
    now = iter([0.0, 50.0, 59.0, 0.0, 0.0, 0.0])
    monkeypatch.setattr(gpu.time, "monotonic", lambda: next(now))
    monkeypatch.setattr(gpu.Run, "tiny", False)
    monkeypatch.setattr(gpu, "ask_driver", lambda field: "a device")
    items = {"networks": (0.2, None), "tests": (0.05, None)}
    text, kept = call(items, "--minutes", "1")
    assert answers == []
    assert kept["networks"]["error"] == "not run: takes about 0.2 min, 0.1 were left"
    assert "| all | networks |  |  | not run: takes about 0.2 min" in text
    call(items, "--minutes", "1")
    assert answers == ["networks", "tests"]


def test_a_process_that_dies_or_outlasts_the_minutes_leaves_a_line(gpu, tmp_path, monkeypatch):
    run = gpu.Run("demo", tmp_path, 4, 1)
    monkeypatch.setattr(gpu, "__file__", str(tmp_path / "script.py"))
    (tmp_path / "script.py").write_text(
        "import sys, time\nif 'dies' in sys.argv: sys.exit('no memory')\ntime.sleep(60)\n"
    )
    died = gpu.alone("dies", run, 60, [])
    assert died["error"] == "failed (exit code 1): no memory"
    assert died["done"]
    stopped = gpu.alone("lasts", run, 0.5, [])
    assert stopped["error"].startswith("stopped after 0.0 min")
    assert "done" not in stopped


def test_results_of_two_devices_are_not_mixed(call, answers, gpu, monkeypatch, capsys):
    items = dict.fromkeys(("tests", "networks"), (0.0, None))
    call(items, "--items", "tests")
    other = {"rows": [], "device": "another device", "peak": 1e15, "done": True}
    monkeypatch.setattr(gpu, "alone", lambda *_: other)
    with pytest.raises(SystemExit):
        call(items)
    assert "is of a device; name another file for another device" in capsys.readouterr().err


def test_without_an_accelerator_only_the_tiny_call_runs(tmp_path):
    command = [sys.executable, str(SCRIPT), "--out", str(tmp_path / "gpu.json")]
    told = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PATH": str(tmp_path)})
    assert told.returncode == 2
    assert "no accelerator was found" in told.stderr


@pytest.mark.slow
@pytest.mark.workflow
def test_the_tiny_call_runs_through_on_a_cpu(gpu, tmp_path, environment):
    out = tmp_path / "gpu.json"
    command = [sys.executable, str(SCRIPT), "--tiny", "--out", str(out)]
    told = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert told.returncode == 0, told.stderr
    kept = json.loads(out.read_text())
    assert list(kept) == list(gpu.all_items())
    assert {name: result["error"] for name, result in kept.items() if "error" in result} == {}
    assert told.stdout.count("\n|") == 2 + sum(len(result["rows"]) for result in kept.values())
    for system in gpu.SYSTEMS:
        assert (tmp_path / f"gpu/{system}.png").stat().st_size > 0
