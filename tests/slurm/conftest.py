"""A Slurm cluster on this machine, and the demo run on it as an admin runs the paper's study."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cluster import missing, running, started

HERE = Path(__file__).parent
ALLOWED = "MSDIFF_SLURM"
SMALLER = ["--config", "size=demo", "--configfile", str(HERE / "smaller.yaml")]
# Fewer than the profile's, for the nodes share the cores of one machine.
JOBS = 4
COLUMNS = "JobID,State,Partition,NodeList,AllocTRES,Submit,Start,End,Elapsed,ExitCode,WorkDir,Comment"


@pytest.fixture(scope="session")
def cluster():
    """A running cluster: this machine's own of a former start, which is left running, or a new one."""
    if os.environ.get(ALLOWED) != "1":
        pytest.skip(f"{ALLOWED} is not 1: it allows to install Slurm on this machine and to start it")
    reason = missing()
    if reason:
        pytest.skip(reason)
    found = running()
    if found:
        yield found
    else:
        with started() as own:
            yield own


@pytest.fixture(scope="session")
def slurm_environment(cluster, environment):
    """The environment of a user of the cluster."""
    return environment | {"OMP_WAIT_POLICY": "PASSIVE"}


@pytest.fixture(scope="session")
def slurm_command(cluster):
    """A function for the words of `snakemake --profile slurm` on the smaller demo, with further options and targets."""

    def words(*options, targets=("all",)):
        program = [sys.executable, str(HERE / "controller.py"), "--profile", "slurm", "--jobs", str(JOBS)]
        quick = ["--slurm-init-seconds-before-status-checks", "1"]
        return [*program, *quick, *options, *SMALLER, "--", *targets]

    return words


@pytest.fixture(scope="session")
def snakemake(slurm_command, slurm_environment):
    """A function that runs that command in a folder to its end; its stdout is all that the controller says."""

    def run(folder, *options, targets=("all",)):
        return subprocess.run(
            slurm_command(*options, targets=targets),
            cwd=folder,
            env=slurm_environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def accounting(cluster):
    """A function for what sacct knows of a folder's jobs: a list of rows by submission, with `Rule` and `GPUs`.

    It waits until no job is under way, unless it is not to; `--duplicates` adds a row for each time that a job was
    started again.
    """

    def rows(folder, *options, wait=True):
        end = time.monotonic() + 30
        while True:
            found = [row for row in _sacct(*options) if row["WorkDir"] == str(folder)]
            if not wait or all(row["End"] != "Unknown" for row in found):
                return found
            assert time.monotonic() < end, found
            time.sleep(0.2)

    return rows


def _sacct(*options):
    command = ["sacct", "--allocations", "--parsable2", "--starttime", "now-1day", "--format", COLUMNS, *options]
    header, *lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    rows = [dict(zip(header.split("|"), line.split("|"), strict=True)) for line in lines]
    for row in rows:
        # The plugin's comment: rule_{rule or rules of the group}, _wildcards_{values}.
        row["Rule"] = row["Comment"].removeprefix("rule_").partition("_wildcards_")[0]
        gpus = re.search(r"gres/gpu:a100=(\d+)", row["AllocTRES"])
        row["GPUs"] = int(gpus.group(1)) if gpus else 0
    return rows


@pytest.fixture(scope="session")
def finished_demo(checkout, snakemake, tmp_path_factory):
    """A checkout in which the demo ran through Slurm; whoever changes it copies it."""
    folder = tmp_path_factory.mktemp("slurm") / "msdiff"
    shutil.copytree(checkout, folder, symlinks=True)
    run = snakemake(folder)
    assert run.returncode == 0, run.stdout[-8000:]
    return folder
