"""A user loads the environment module and starts: the jobs on the nodes have what the module gave."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slurm
ROOT = Path(__file__).parent.parent.parent
START = Path("/usr/share/modules/init/bash")
PATIENT = "results/cohorts/phantom/raw/000"
# In place of the shared environment's python: simulates no patient, but tells where it was called.
PYTHON = f"""#!/bin/sh
mkdir -p {PATIENT}
echo "$0 $MSDIFF_ENVIRONMENTS $OMP_WAIT_POLICY" >{PATIENT}/told.txt
"""


@pytest.fixture
def shared(tmp_path):
    """A shared checkout's module, its Snakemake, and the stand-in."""
    folder = tmp_path / "shared"
    shutil.copytree(ROOT / "envs/modules", folder / "envs/modules")
    programs = folder / ".venv/bin"
    programs.mkdir(parents=True)
    (programs / "snakemake").symlink_to(Path(sys.executable).with_name("snakemake"))
    (programs / "python").write_text(PYTHON)
    (programs / "python").chmod(0o755)
    return folder


def test_jobs_have_the_environment_of_the_module(cluster, checkout, shared, tmp_path):
    clone = shutil.copytree(checkout, tmp_path / "clone", symlinks=True)
    run = (
        f". {START}; module use {shared}/envs/modules; module load msdiff; "
        "snakemake --profile slurm --slurm-init-seconds-before-status-checks 1 --max-jobs-per-timespan 10/1s "
        f"--config size=demo -- {PATIENT}"
    )
    bare = {"HOME": os.environ["HOME"], "PATH": "/usr/local/bin:/usr/bin:/bin"}
    done = subprocess.run(["bash", "-c", run], cwd=clone, env=bare, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told = (clone / PATIENT / "told.txt").read_text().split()
    assert told == [f"{shared}/.venv/bin/python", f"{shared}/.environments", "PASSIVE"]
