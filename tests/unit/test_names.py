"""One class per name, one way to name a logger, one home for values that several stages share."""

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = {path.relative_to(ROOT): ast.parse(path.read_text()) for path in sorted((ROOT / "msdiff").rglob("*.py"))}


def calls(name):
    """The statements of all modules that call a function of this name, with their module."""
    for path, tree in MODULES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == name:
                yield path, node


def assigned(tree):
    """Names and values of a module's own assignments."""
    for node in tree.body:
        if isinstance(node, ast.Assign):
            yield from ((target.id, node.value) for target in node.targets if isinstance(target, ast.Name))


def test_each_class_has_a_name_of_its_own():
    homes = defaultdict(list)
    for path, tree in MODULES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(f"{path}:{node.lineno}")
    assert {name: places for name, places in homes.items() if len(places) > 1} == {}


def test_each_module_logs_under_its_own_name():
    wrong = []
    for path, tree in MODULES.items():
        for name, value in assigned(tree):
            text = ast.unparse(value)
            if "getLogger" in text and (name, text) != ("log", "logging.getLogger(__name__)"):
                wrong.append(f"{path}: {name} = {text}")
    assert wrong == []
    # Elsewhere: the command's own name, and the root of another process, which is silenced.
    others = {str(path) for path, call in calls("getLogger") if ast.unparse(call.args) != "__name__"}
    assert others == {"msdiff/__main__.py", "msdiff/processes.py"}


@pytest.mark.parametrize(("name", "home"), [("BACKGROUND", "msdiff/images.py"), ("MASKS", "msdiff/patients.py")])
def test_values_that_stages_share_have_one_home(name, home):
    homes = [str(path) for path, tree in MODULES.items() if name in dict(assigned(tree))]
    assert homes == [home]


def test_the_background_is_nowhere_written_out():
    """A normalised scan is -1 outside of the brain: whoever fills an array with that imports the name."""
    filled = [(path, call) for name in ("full", "where", "full_like") for path, call in calls(name)]
    constants = [
        f"{path}:{call.lineno}"
        for path, call in filled
        if "brain" in ast.unparse(call) and any(ast.unparse(argument) in ("-1", "-1.0") for argument in call.args)
    ]
    assert len(filled) > 10
    assert constants == []


def test_functions_sample_simulate_choose_or_plot():
    wrong = [
        f"{path}:{node.lineno} {node.name}"
        for path, tree in MODULES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and re.match("_*draw(n|s)?(_|$)", node.name)
    ]
    assert wrong == []
