"""The pins of requirements.txt and of envs/ are one set."""

from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
ENVIRONMENTS = sorted((ROOT / "envs").glob("*.yaml"))


def pins(lines):
    return {line.strip() for line in lines if "==" in line}


def test_requirements_are_pinned_exactly():
    lines = [line.strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    assert all("==" in line for line in lines if line and not line.startswith("#"))


def pins_of(environment):
    return set(yaml.safe_load(environment.read_text())["dependencies"][-1]["pip"])


@pytest.mark.parametrize("path", ENVIRONMENTS, ids=lambda path: path.stem)
def test_environment_pins_are_those_of_requirements(path):
    assert pins_of(path)
    assert pins_of(path) <= pins((ROOT / "requirements.txt").read_text().splitlines())


def test_every_requirement_is_in_an_environment():
    listed = set().union(*map(pins_of, ENVIRONMENTS))
    assert listed == pins((ROOT / "requirements.txt").read_text().splitlines())
