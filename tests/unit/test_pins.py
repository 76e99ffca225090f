"""The pins of envs/ are those of requirements.txt, or of an environment's own requirements-{name}.txt."""

from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
ENVIRONMENTS = sorted((ROOT / "envs").glob("*.yaml"))
REQUIREMENTS = ROOT / "requirements.txt"
# Backends whose pins do not go together with those of requirements.txt.
OWN = {path.stem.removeprefix("requirements-"): path for path in ROOT.glob("requirements-*.txt")}
del OWN["dev"]


def lines_of(path):
    lines = [line.strip() for line in path.read_text().splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def pins_of(environment):
    return yaml.safe_load(environment.read_text())["dependencies"][-1]["pip"]


@pytest.mark.parametrize("path", [REQUIREMENTS, *OWN.values()], ids=lambda path: path.stem)
def test_requirements_are_pinned_exactly(path):
    assert lines_of(path)
    assert all("==" in line for line in lines_of(path))


@pytest.mark.parametrize("path", [path for path in ENVIRONMENTS if path.stem not in OWN], ids=lambda path: path.stem)
def test_environment_pins_are_those_of_requirements(path):
    assert pins_of(path)
    assert set(pins_of(path)) <= set(lines_of(REQUIREMENTS))


@pytest.mark.parametrize("name", OWN)
def test_environments_of_their_own_pin_what_their_requirements_pin(name):
    assert pins_of(ROOT / f"envs/{name}.yaml") == lines_of(OWN[name])


def test_every_requirement_is_in_an_environment():
    shared = [path for path in ENVIRONMENTS if path.stem not in OWN]
    assert {pin for path in shared for pin in pins_of(path)} == set(lines_of(REQUIREMENTS))


def test_tensorflow_lives_beside_the_same_libraries():
    versions = dict(pin.split("==") for pin in lines_of(REQUIREMENTS))
    for pin in lines_of(OWN["synthseg"]):
        library, version = pin.split("==")
        assert versions.get(library, version) == version
