"""A second user starts from the finished demo of a first, in the commands that docs/cluster.md prints."""

import re
import shutil
import subprocess

import pytest

pytestmark = pytest.mark.slurm


def test_the_second_user_submits_no_imaging(finished_demo, checkout, snakemake, accounting, tmp_path):
    second = shutil.copytree(checkout, tmp_path / "second", symlinks=True)
    page = (checkout / "docs/cluster.md").read_text()
    (commands,) = [block for block in re.findall(r"```\n(.*?)```", page, re.DOTALL) if "cp -as" in block]
    commands = re.sub(r"^FROM=\S+", f"FROM={finished_demo}", commands, flags=re.MULTILINE)
    subprocess.run(["bash", "-euc", commands], cwd=second, check=True)
    run = snakemake(second, targets=["results/tables/cohort.csv"])
    assert run.returncode == 0, run.stdout
    assert [row["Rule"] for row in accounting(second)] == ["cohort"]
    ours, theirs = (folder / "results/tables/cohort.csv" for folder in (second, finished_demo))
    assert ours.read_text() == theirs.read_text()
