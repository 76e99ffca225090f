"""What Snakemake asks of Apptainer, told by a stand-in: the image itself cannot be built here."""

import os
import shutil
import subprocess

import pytest

pytestmark = pytest.mark.workflow
TARGET = "results/cohorts/phantom/sheet.tsv"
# Writes down its arguments and runs the command that stands behind the image.
APPTAINER = """#!/usr/bin/env bash
if [ "$1" = --version ]; then echo "apptainer version 1.4.3"; exit; fi
printf '%s\\n' "$@" >>"$CALLS"
while [ $# -gt 0 ]; do
    case $1 in *.sif) shift; exec "$@" ;; esac
    shift
done
"""


@pytest.fixture
def clone(checkout, tmp_path):
    return shutil.copytree(checkout, tmp_path / "msdiff", symlinks=True)


@pytest.fixture
def calls(tmp_path):
    return tmp_path / "calls.txt"


@pytest.fixture
def contained(environment, tmp_path, calls):
    """An environment with the stand-in."""
    program = tmp_path / "bin/apptainer"
    program.parent.mkdir()
    program.write_text(APPTAINER)
    program.chmod(0o755)
    return environment | {"PATH": os.pathsep.join([str(program.parent), environment["PATH"]]), "CALLS": str(calls)}


def run(clone, environment, *options):
    command = ["snakemake", "--profile", "profiles/demo", *options, "--", TARGET]
    done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_command_runs_in_the_image_with_the_options_given(clone, contained, calls):
    run(clone, contained, "--sdm", "apptainer", "--apptainer-args", "--nv --bind /data")
    called = calls.read_text().splitlines()
    assert called[:6] == ["exec", "--home", str(clone), "--nv", "--bind", "/data"]
    assert called[called.index("envs/msdiff.sif") + 1 :][:2] == ["bash", "-c"]
    assert "python -m msdiff index-scans" in calls.read_text()


def test_without_the_option_the_image_is_not_asked_for(clone, contained, calls):
    run(clone, contained)
    assert not calls.exists()
