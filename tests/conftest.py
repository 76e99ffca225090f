"""Fixtures that several folders of tests share."""

import os
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LEFT_BEHIND = shutil.ignore_patterns(".git", ".venv", ".snakemake", "results", "*_cache", "__pycache__", "*.egg-info")


@pytest.fixture(scope="session")
def checkout(tmp_path_factory):
    """A clean copy of the project, without results."""
    copy = tmp_path_factory.mktemp("checkout") / "msdiff"
    shutil.copytree(ROOT, copy, symlinks=True, ignore=LEFT_BEHIND)
    return copy


@pytest.fixture(scope="session")
def environment():
    """The environment of a user who activated the one that runs the tests."""
    folder = str(Path(sys.executable).parent)
    return os.environ | {"PATH": os.pathsep.join([folder, os.environ["PATH"]])}
