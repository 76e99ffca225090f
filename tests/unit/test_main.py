import json
import subprocess
import sys

import pytest

from msdiff.__main__ import main
from msdiff.cli import COMMANDS

HEAVY = ["torch", "monai", "ants", "matplotlib", "skimage", "sklearn"]


def test_help_lists_every_command(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in COMMANDS)


@pytest.mark.parametrize("arguments", [[], ["register-scans"]])
def test_no_or_unknown_command_is_one_line_and_exit_2(capsys, arguments):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "strip-skull" in captured.err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_tells_its_options(capsys, name):
    with pytest.raises(SystemExit) as done:
        main([name, "--help"])
    assert done.value.code == 0
    assert f"msdiff {name}" in capsys.readouterr().out


def test_help_of_every_command_loads_no_heavy_library():
    code = (
        "import sys, json, importlib\n"
        "from msdiff.cli import COMMANDS\n"
        "for location, _ in COMMANDS.values():\n    importlib.import_module(location)\n"
        f"print(json.dumps([name for name in {HEAVY} if name in sys.modules]))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) == []


@pytest.mark.parametrize(
    ("module", "spared"),
    [
        ("msdiff.synthesis.sampling", ["torch._dynamo", "matplotlib", "pyarrow", "ants"]),
        ("msdiff.networks.compiled", ["torch._dynamo", "torch._inductor", "pandas"]),
        ("msdiff.detection.detectors", ["torch._dynamo", "monai", "matplotlib", "ants"]),
        ("msdiff.detection.scoring", ["torch", "matplotlib"]),
        ("msdiff.phantom.scans", ["torch", "ants", "matplotlib"]),
    ],
)
def test_work_that_every_process_starts_with_imports_no_more_than_it_needs(module, spared):
    """A second or two of each of the demo's processes; torch's compiler alone is one."""
    code = f"import sys, {module}\nprint([name for name in {spared} if name in sys.modules])\n"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
