"""Every rule's environment holds what its command imports, and the definitions that cannot be built here are sound."""

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path

import grimp
import pytest
import yaml
from packaging.requirements import Requirement

from msdiff import __version__
from msdiff.cli import COMMANDS
from msdiff.parcellation.regions import BACKENDS as PARCELLATORS
from msdiff.tables.registry import names

ROOT = Path(__file__).parent.parent.parent
RULES = {
    name: text
    for path in sorted((ROOT / "workflow/rules").glob("*.smk"))
    for name, text in re.findall(r"^rule (\w+):\n(.*?)(?=^\S|\Z)", path.read_text(), re.MULTILINE | re.DOTALL)
}
DEFINITION = (ROOT / "envs/msdiff.def").read_text()
MODULEFILE = ROOT / f"envs/modules/msdiff/{__version__}"
# Commands that an admin calls where the controller runs.
CONTROLLER = ("cluster", "plan", "status")
# Parcellation backends by environment, as in common.smk; the others run in `imaging`.
OWN = {"synthseg", "samseg"}
# Imports that a command reaches and does not need: versions are told without torch, and no network is built in Keras.
UNNEEDED = {"provenance": {"torch"}, "report": {"torch"}, "export-parcellator": {"keras"}}
# An example stands in the one's docstring; of the other's backends each has its own environment, and its own test.
WITHOUT_TABLE = {"msdiff.backends", "msdiff.parcellation.regions"}
KNOWN = packages_distributions()
# Modules of a distribution that this environment does not hold.
ELSEWHERE = {"tensorflow": "tensorflow-cpu"}


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module")
def graph():
    return grimp.build_graph("msdiff", include_external_packages=True)


def backends(module):
    """The modules that a module names in its table of backends, `"name": "module:function"`, or of modules."""
    path = ROOT.joinpath(*module.split("."))
    text = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text()
    return set(re.findall(r'"\w+": "(msdiff[\w.]+)(?::\w+)?"', text))


def libraries(graph, module):
    """What a module imports, at once or later, itself or through others, from outside the standard library."""
    seen, ahead = set(), {module}
    while ahead:
        current = ahead.pop()
        seen.add(current)
        further = graph.find_modules_directly_imported_by(current)
        if current.startswith("msdiff") and current not in WITHOUT_TABLE:
            further = further | backends(current)
        ahead |= {name for name in further if name in graph.modules} - seen
    return {name for name in seen if not name.startswith("msdiff")} - sys.stdlib_module_names


@cache
def installed(environment):
    """The distributions that pip installs from an environment's pins, as far as this environment knows their needs."""
    pins = yaml.safe_load((ROOT / f"envs/{environment}.yaml").read_text())["dependencies"][-1]["pip"]
    found, ahead = set(), {normal(pin.split("==")[0]) for pin in pins}
    while ahead:
        name = ahead.pop()
        found.add(name)
        try:
            needs = [Requirement(line) for line in distribution(name).requires or []]
        except PackageNotFoundError:
            continue
        ahead |= {normal(n.name) for n in needs if n.marker is None or n.marker.evaluate({"extra": ""})} - found
    return found


@cache
def bringing(module):
    """The distributions that bring a module."""
    return {normal(name) for name in KNOWN.get(module, [ELSEWHERE.get(module, module)])}


def lacking(environment, modules):
    """The modules that no distribution of an environment brings."""
    return {name for name in modules if not bringing(name) & installed(environment)}


def test_every_rule_with_a_command_has_an_environment_that_exists():
    for name, text in RULES.items():
        if "shell:" not in text:
            continue
        (path,) = re.findall(r'conda:\n +f?"\.\./\.\./(envs/\S+\.yaml)"', text)
        names = [path] if "{" not in path else [path.format(ENVIRONMENT=each) for each in (*OWN, "imaging")]
        assert all((ROOT / each).is_file() for each in names), name


@pytest.mark.parametrize("rule", [name for name, text in RULES.items() if re.search(r"envs/\w+\.yaml", text)])
def test_a_rules_environment_holds_what_its_command_imports(graph, rule):
    (environment,) = re.findall(r"envs/(\w+)\.yaml", RULES[rule])
    (command,) = re.findall(r"-m msdiff ([\w-]+)", RULES[rule])
    needed = libraries(graph, COMMANDS[command][0]) - UNNEEDED.get(command, set())
    assert not lacking(environment, needed)


@pytest.mark.parametrize("name", names())
def test_the_tables_environment_holds_what_a_table_imports(graph, name):
    assert not lacking("tables", libraries(graph, f"msdiff.tables.{name}"))


@pytest.mark.parametrize("backend", PARCELLATORS)
def test_a_parcellation_backends_environment_holds_what_it_imports(graph, backend):
    needed = libraries(graph, COMMANDS["parcellate"][0]) | libraries(graph, PARCELLATORS[backend].split(":")[0])
    assert not lacking(backend if backend in OWN else "imaging", needed)


def test_an_environment_without_a_library_is_noticed(graph):
    assert {"ants"} <= lacking("tables", libraries(graph, COMMANDS["register"][0]))


@pytest.mark.parametrize("command", CONTROLLER)
def test_the_controllers_environment_holds_what_its_commands_import(graph, command):
    assert not lacking("controller", libraries(graph, COMMANDS[command][0]))


def test_the_controllers_environment_parses_the_workflow(graph):
    files = [ROOT / "Snakefile", *(ROOT / "workflow").rglob("*.smk"), *(ROOT / "workflow").rglob("*.py")]
    texts = [path.read_text() for path in files]
    imported = {name for text in texts for name in re.findall(r"^(?:import|from) (\w+)", text, re.MULTILINE)}
    imported -= {"workflow", *sys.stdlib_module_names}
    modules = {name for text in texts for name in re.findall(r"^from (msdiff[\w.]*) import", text, re.MULTILINE)}
    imported |= {library for module in modules for library in libraries(graph, module)}
    imported -= {"msdiff"}
    assert {"pandas", "jsonschema", "snakemake"} <= imported
    assert not lacking("controller", imported)


def test_what_cannot_be_built_here_says_so():
    assert all(
        "Not built here" in path.read_text() for path in [ROOT / "envs/msdiff.def", *(ROOT / "envs").glob("*.yaml")]
    )


def section(name):
    """The lines of a section of the Apptainer definition."""
    text = re.search(rf"^%{name}\n(.*?)(?=^%|\Z)", DEFINITION, re.MULTILINE | re.DOTALL).group(1)
    return [line.strip() for line in text.splitlines() if line.strip()]


def test_the_container_has_a_base_and_every_section_once():
    header = dict(re.findall(r"^(\w+): (\S+)$", DEFINITION.split("\n%")[0], re.MULTILINE))
    assert header == {"Bootstrap": "docker", "From": "python:3.11-slim-bookworm"}
    names = re.findall(r"^%(\w+)$", DEFINITION, re.MULTILINE)
    assert names == ["labels", "files", "post", "environment", "runscript", "test", "help"]
    assert f"org.opencontainers.image.version {__version__}" in section("labels")


def test_the_container_installs_the_pinned_requirements():
    copied = dict(line.split() for line in section("files"))
    assert set(copied) == {"requirements.txt", "requirements-synthseg.txt"}
    assert all((ROOT / path).is_file() for path in copied)
    installs = [line.split() for line in section("post") if "pip install" in line]
    assert [words[-1] for words in installs] == list(copied.values())
    # Nothing beside the pins.
    assert all(words[-2] == "--requirement" for words in installs)


def test_the_container_keeps_a_backends_environment_where_its_rule_looks():
    (root,) = [line.split("=")[1] for line in section("environment") if line.startswith("export MSDIFF_ENVIRONMENTS=")]
    assert f"python -m venv {root}/synthseg" in section("post")


@pytest.mark.parametrize("part", ["post", "test", "runscript", "environment"])
def test_the_containers_scripts_are_sound_shell(part):
    subprocess.run(["sh", "-n"], input="\n".join(section(part)), text=True, check=True)


def test_the_containers_test_imports_what_its_requirements_bring():
    lines = [line for line in section("test") if "/opt" not in line]
    names = {name for line in lines for name in re.findall(r"(?:import|,|from) (\w+)(?=[,; ])", line)}
    assert {"torch", "ants", "monai"} <= names
    pins = {normal(line.split("==")[0]) for line in (ROOT / "requirements.txt").read_text().splitlines()}
    assert all(bringing(name) & pins for name in names)


@pytest.fixture
def shared(tmp_path):
    """A shared checkout with an installation in it, and nothing else of the project."""
    checkout = tmp_path / "shared"
    shutil.copytree(ROOT / "envs/modules", checkout / "envs/modules")
    for program in ("snakemake", "python"):
        path = checkout / ".venv/bin" / program
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\necho shared {program}\n")
        path.chmod(0o755)
    return checkout


def load(checkout, *commands):
    """Load the module in a fresh shell, then run commands."""
    start = Path("/usr/share/modules/init/bash")
    if not start.is_file():
        pytest.skip("Environment Modules are not installed")
    lines = [f". {start}", f"module use {checkout}/envs/modules", "module load msdiff || exit 3", *commands]
    clean = {name: os.environ[name] for name in ("HOME", "PATH") if name in os.environ}
    return subprocess.run(["bash", "-c", "\n".join(lines)], env=clean, capture_output=True, text=True, check=False)


def test_the_module_is_named_for_the_version():
    assert [path.name for path in MODULEFILE.parent.iterdir()] == [__version__]
    assert MODULEFILE.read_text().startswith("#%Module")


def test_the_module_gives_the_shared_installation_and_takes_it_back(shared):
    told = 'echo "$MSDIFF_ENVIRONMENTS" "$OMP_WAIT_POLICY"'
    run = load(shared, "snakemake", "python", told, "module unload msdiff", 'echo "[$MSDIFF_ENVIRONMENTS]"')
    expected = ["shared snakemake", "shared python", f"{shared}/.environments PASSIVE", "[]"]
    assert run.stdout.splitlines() == expected, run.stderr


def test_the_module_of_a_checkout_without_an_installation_says_what_to_do(shared):
    shutil.rmtree(shared / ".venv")
    run = load(shared, "echo loaded")
    assert (run.returncode, run.stdout) == (3, "")
    assert f"run `make install` in {shared}" in run.stderr
