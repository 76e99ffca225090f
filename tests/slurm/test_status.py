"""`msdiff status` and the controller's lines, of a run in which jobs are done, running, waiting and failed."""

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slurm
HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PATIENCE_SECONDS = 90
SNAKEFILE = """
from workflow.events import show_events

show_events(workflow)

rule all:
    input:
        expand("results/draw/{subject}", subject=["sub-1", "sub-2"]),
        "results/train/phantom",
        "results/mix/1-2",
        "results/hold",

rule draw:
    output: "results/draw/{subject}"
    log: "results/logs/draw/{subject}.log"
    group: "imaging"
    shell: "echo 12:00:00 msdiff: drew >{log}; touch {output}"

rule train:
    output: "results/train/{cohort}"
    log: "results/logs/train/{cohort}.log"
    shell: "echo 12:00:00 msdiff.training: step 20 of 320, loss 0.5 >{log}; exec sleep 600"

rule mix:
    output: "results/mix/{mix}"
    log: "results/logs/mix/{mix}.log"
    shell: "echo msdiff mix: error: no shards, draw some >{log}; exit 2"

rule hold:
    output: "results/hold"
    log: "results/logs/hold.log"
    resources: slurm_extra="'--begin=now+1hour'"
    shell: "touch {output}"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("status")
    (folder / "Snakefile").write_text(SNAKEFILE)
    shutil.copytree(ROOT / "profiles/slurm", folder / "slurm")
    (folder / "workflow").mkdir()
    shutil.copy(ROOT / "workflow/events.py", folder / "workflow")
    return folder


@pytest.fixture(scope="module")
def said(folder, slurm_environment):
    """A run, as a function for what its controller has said once a line begins as wanted, without the times."""
    options = ["--retries", "0", "--slurm-init-seconds-before-status-checks", "1", "--group-components", "imaging=2"]
    command = [sys.executable, str(HERE / "controller.py"), "--profile", "slurm", *options, "--", "all"]
    with (folder / "said").open("w") as file:
        run = subprocess.Popen(command, cwd=folder, env=slurm_environment, stdout=file, stderr=subprocess.STDOUT)

    def lines():
        return [re.sub(r"^\w{3} \d\d [\d:]{8} ", "", line) for line in (folder / "said").read_text().splitlines()]

    yield lambda wanted: awaited(lines, wanted)
    run.kill()
    run.wait()
    subprocess.run(["scancel", *re.findall(r"Slurm job (\d+), log", "\n".join(lines()))], check=False)


@pytest.fixture
def status(folder, slurm_environment):
    """A function for the lines of `msdiff status`, once one of them begins as wanted."""

    def lines():
        command = [sys.executable, "-m", "msdiff", "status"]
        run = subprocess.run(command, cwd=folder, env=slurm_environment, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        return run.stdout.splitlines()

    return lambda wanted: awaited(lines, wanted)


def awaited(lines, wanted):
    """The lines, once one of them begins as wanted."""
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        found = lines()
        if any(line.startswith(wanted) for line in found):
            return found
        assert time.monotonic() < end, "\n".join(found)
        time.sleep(0.5)


def test_status_tells_what_is_done_running_waiting_and_failed(said, status):
    lines = status("2 of 6 jobs done (33 %); Slurm jobs: 1 running, 1 waiting; failed: 1")
    assert lines[1].startswith("controller: at work, last event ")
    table = {line.split()[0]: line.split()[1:] for line in lines[4:10]}
    assert table["draw"] == ["2", "2", "-", "-", "-"]
    assert table["train"] == ["0", "1", "1", "-", "-"]
    assert table["hold"] == ["0", "1", "-", "1", "-"]
    assert table["mix"] == ["0", "1", "-", "-", "1"]
    at_work = lines[lines.index("running") + 1]
    training = re.fullmatch(r"  (\d+)  train phantom  cpu\d  \d:\d\d of 30:00  step 20 of 320, loss 0.5", at_work)
    assert training
    assert lines[lines.index("waiting") + 1] == "  BeginTime: hold 1"
    failed, why, log = lines[lines.index("failed") + 1 :]
    assert re.fullmatch(r"  mix 1-2  failed: Slurm job \d+ on cpu\d, after [\d:]+", failed)
    assert why.strip() == "msdiff mix: error: no shards, draw some"
    assert log.strip().startswith("log: results/logs/mix/1-2.log; ")
    subprocess.run(["scancel", training[1]], check=True)
    lines = status("2 of 6 jobs done (33 %); Slurm jobs: 0 running, 1 waiting; failed: 2")
    assert any(re.match(rf"  train phantom  was cancelled: Slurm job {training[1]} on cpu\d", line) for line in lines)


def test_the_controller_says_one_line_per_event(said):
    said("finished   draw 2 (2 of 6 jobs, 33 %)")
    lines = said("failed     mix 1-2")
    assert sorted(line.partition(": Slurm")[0] for line in lines if line.startswith("submitted")) == [
        f"submitted  {name}" for name in ["hold", "imaging", "mix 1-2", "train phantom"]
    ]
    (number,) = [at for at, line in enumerate(lines) if line.startswith("failed     mix")]
    assert re.fullmatch(r"failed     mix 1-2: Slurm job \d+, FAILED, log results/logs/mix/1-2.log", lines[number])
    assert lines[number + 1] == "    msdiff mix: error: no shards, draw some"
    assert not any(line.startswith(("rule ", "    input:", "Shell command")) for line in lines)
