"""A new controller ends the Slurm jobs of one that was killed in the same directory, and records what they finished."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.workflow
ROOT = Path(__file__).parents[2]
RUN = "0c5f2f0e-6f7a-4f43-9d51-7c1f7a0e2b11"
# The workflow's hook with a rule that notes what is in the queue when the first job starts.
SNAKEFILE = """
import os
import sys


def stop(message):
    sys.exit(f"stopped: {{message}}")


include: "{recall}"


PATIENCE_SECONDS = 2


rule note:
    output:
        "noted",
    localrule: True
    shell:
        "cp queue {{output}}"
"""
WITH_PARAMETER = """

rule square:
    output:
        "square",
    params:
        side=config["side"],
    localrule: True
    shell:
        "echo {params.side} > {output}"
"""
# A queue is a file with a line for each job, as squeue is asked to print them; 13 is a job that does not end.
SQUEUE = """#!/bin/sh
[ "$*" = "--me --noheader --format=%i|%j|%Z" ] && cat {folder}/queue
"""
SCANCEL = """#!/bin/sh
echo "$@" >> {folder}/cancelled
for job in "$@"; do [ "$job" = 13 ] || sed -i "/^$job|/d" {folder}/queue; done
"""


@pytest.fixture
def run(tmp_path, environment):
    """A function that starts Snakemake in a folder over a queue; `{here}` in a line of it is the folder."""
    for name, text in {"squeue": SQUEUE, "scancel": SCANCEL}.items():
        program = tmp_path / "slurm" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(text.format(folder=tmp_path))
        program.chmod(0o755)
    (tmp_path / "Snakefile").write_text(SNAKEFILE.format(recall=ROOT / "workflow/rules/recall.smk"))
    environment = environment | {"PATH": f"{tmp_path / 'slurm'}:{environment['PATH']}"}

    def start(queue, *options):
        if queue is not None:
            (tmp_path / "queue").write_text("".join(f"{line.format(here=tmp_path)}\n" for line in queue))
        return subprocess.run(
            ["snakemake", "--cores", "1", *options],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return start


def cancelled(folder):
    record = folder / "cancelled"
    return record.read_text().split() if record.exists() else []


def test_jobs_of_this_directory_end_before_the_first_job_starts(run, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    others = [
        f"3|msdiff_{RUN}|{{here}}/elsewhere",
        # The controller itself, in a Slurm job of its own, and an interactive session.
        "4|msdiff|{here}",
        "5|msdiff_controller|{here}",
        "6|bash|{here}",
        # Another workflow's.
        f"7|{RUN}|{{here}}",
        f"8|other_msdiff_{RUN}|{{here}}",
    ]
    done = run([f"1|msdiff_{RUN}|{{here}}", f"2|msdiff_{RUN}|{{here}}/link", *others])
    assert done.returncode == 0, done.stderr
    assert cancelled(tmp_path) == ["1", "2"]
    assert [line[0] for line in (tmp_path / "noted").read_text().splitlines()] == ["3", "4", "5", "6", "7", "8"]
    assert "cancelling Slurm jobs of a killed controller: 1 2" in done.stderr


def test_an_empty_queue_is_passed_over_in_silence(run, tmp_path):
    done = run([])
    assert done.returncode == 0, done.stderr
    assert "Slurm" not in done.stderr
    assert cancelled(tmp_path) == []


def test_a_dry_run_cancels_nothing(run, tmp_path):
    assert run([f"1|msdiff_{RUN}|{{here}}"], "--dry-run").returncode == 0
    assert cancelled(tmp_path) == []


def test_beside_the_lock_of_another_controller_nothing_is_cancelled(run, tmp_path):
    lock = tmp_path / ".snakemake/locks/0.output.lock"
    lock.parent.mkdir(parents=True)
    lock.write_text("results/another\n")
    assert run([f"1|msdiff_{RUN}|{{here}}"]).returncode == 0
    assert cancelled(tmp_path) == []


def test_a_job_that_does_not_end_stops_the_run(run, tmp_path):
    done = run([f"13|msdiff_{RUN}|{{here}}"])
    assert done.returncode != 0
    assert "Slurm jobs 13 of a killed controller run on, 2 s after scancel" in done.stderr
    assert not (tmp_path / "noted").exists()


def test_without_an_answer_of_slurm_a_local_run_goes_on_and_one_on_the_cluster_stops(run, tmp_path):
    on_cluster = run(None, "--executor", "slurm", "--jobs", "1")
    assert on_cluster.returncode != 0
    assert "stopped: squeue --me --noheader" in on_cluster.stderr
    (tmp_path / "Snakefile").write_text((tmp_path / "Snakefile").read_text().replace("cp queue", "touch"))
    local = run(None)
    assert local.returncode == 0, local.stderr


def test_a_changed_number_reruns_what_finished_without_a_controller(run, tmp_path):
    with (tmp_path / "Snakefile").open("a") as file:
        file.write(WITH_PARAMETER)
    assert run([], "--config", "side=1", "--", "square").returncode == 0
    # A controller that is dead when a job ends writes no record of it.
    shutil.rmtree(tmp_path / ".snakemake/metadata")
    assert run([], "--config", "side=1", "--", "square", "note").returncode == 0
    again = run([], "--config", "side=2", "--", "square")
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "square").read_text() == "2\n"


def test_the_profile_names_jobs_as_they_are_looked_for():
    profile = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())
    recall = (ROOT / "workflow/rules/recall.smk").read_text()
    assert f're.compile(r"{profile["slurm-jobname-prefix"]}_[' in recall
