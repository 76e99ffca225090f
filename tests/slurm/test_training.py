"""A training that the cluster stops again and again ends with the weights of one left alone, byte for byte.

Signals go the whole way: Slurm, Snakemake inside the job, the command, and its processes where there are several. So
that no machine is too fast or too slow for this, a training is held (SIGSTOP) after some steps until it is to be
stopped.
"""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

pytestmark = pytest.mark.slurm
RULE = "train_auxiliary"
FOLDER = Path("results/synthesis/phantom/auxiliary")
LOG = Path(f"results/logs/{RULE}/phantom.log")
STEPS = 120
TRAINING = {
    "steps": STEPS,
    "log_every": 4,
    "checkpoint_every": 1000,
    "validate_every": 0,
    "keep": "last",
    "micro_batches": 2,
}
PATIENCE = 200.0
# The shortest that Slurm knows.
MINUTES = 1
BEGUN = re.compile(r"training to step \d+ from step (\d+)")
STOPPED = re.compile(r"stopped at step (\d+) of \d+ \((.+?)\)")


def until(holds, what):
    """Wait for a true value and return it."""
    end = time.monotonic() + PATIENCE
    while not (value := holds()):
        assert time.monotonic() < end, what() if callable(what) else what
        time.sleep(0.1)
    return value


def slurm(*words):
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def job(folder, after=0):
    """A folder's waiting or running Slurm job with a number above `after`: number, state and node."""

    def found():
        rows = [line.split("|") for line in slurm("squeue", "-h", "-t", "PD,R", "-o", "%i|%T|%N|%Z").splitlines()]
        return [(int(row[0]), *row[1:3]) for row in rows if row[3] == str(folder) and int(row[0]) > after]

    (only,) = until(found, f"{folder}: no job after {after}")
    return only


def end_in(seconds, folder, after=0):
    """Give a folder's job so long from now, whatever it asked for: its number."""
    number, _, _ = job(folder, after)
    slurm("scontrol", "update", f"JobId={number}", f"EndTime=now+{seconds}")
    return number


def log(folder):
    return (folder / LOG).read_text() if (folder / LOG).exists() else ""


def processes(folder):
    """The group of processes in which a folder's training runs."""
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if b"\0train-detector\0" in (place / "cmdline").read_bytes() and (place / "cwd").readlink() == folder:
                return os.getpgid(int(place.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    raise AssertionError(f"{folder}: no training")


def hold(folder, first):
    """Stop a training after some steps of the attempt that begins after step `first`; Slurm's own signals wake it."""

    def under_way():
        begun = BEGUN.search(log(folder))
        return begun and int(begun[1]) == first

    until(under_way, lambda: f"no training from step {first}: {log(folder)[-2000:]}")
    time.sleep(0.3)
    os.killpg(processes(folder), signal.SIGSTOP)


def stopped(folder):
    """The step after which the training stopped itself, and why."""
    found = until(lambda: STOPPED.search(log(folder)), lambda: f"not stopped: {log(folder)[-2000:]}")
    return int(found[1]), found[2]


def resumed(folder, first):
    """Wait for the attempt that begins after step `first`."""
    hold(folder, first)
    os.killpg(processes(folder), signal.SIGCONT)


def leave_alone(folder):
    return []


def warn_requeue_and_preempt(folder):
    """Three times: by Slurm's warning before the limit, by `scontrol requeue`, by a job that may push it aside."""
    hold(folder, 0)
    # The rule has it warned two minutes before; Slurm looks every half minute.
    warned = end_in(140, folder)
    stops = [stopped(folder)]

    requeued, _, _ = job(folder, after=warned)
    hold(folder, stops[-1][0])
    slurm("scontrol", "requeue", str(requeued))
    stops.append(stopped(folder))
    until(lambda: job(folder)[1] == "PENDING", "not requeued")
    # Without the pause that Slurm makes.
    slurm("scontrol", "update", f"JobId={requeued}", "StartTime=now")

    hold(folder, stops[-1][0])
    _, _, node = job(folder)
    slurm("sbatch", "-p", "urgent", "-w", node, "-N1", "--gpus=4", "--mem=100", "-o", "/dev/null", "--wrap", "true")
    stops.append(stopped(folder))
    resumed(folder, stops[-1][0])
    return stops


def run_out_of_time(folder):
    """Once, by the training's own clock; Slurm would wait for longer."""
    until(lambda: job(folder)[1] == "RUNNING", "not started")
    number = end_in(3600, folder)
    hold(folder, 0)
    time.sleep(60 * MINUTES - 2)
    os.killpg(processes(folder), signal.SIGCONT)
    stops = [stopped(folder)]
    resumed(folder, stops[-1][0])
    end_in(3600, folder, after=number)
    return stops


def cancel(folder):
    """Once, by hand."""
    number, _, _ = job(folder)
    hold(folder, 0)
    slurm("scancel", str(number))
    stops = [stopped(folder)]
    resumed(folder, stops[-1][0])
    return stops


class Case(NamedTuple):
    """What is done to a training, in how many processes it runs, and what its jobs ask for."""

    disturb: Callable[[Path], list[tuple[int, str]]]
    processes: int
    resources: list[str]


CASES = {
    "left alone": Case(leave_alone, 1, ["gpu=1"]),
    # A whole node, so that nobody else is pushed aside.
    "pushed": Case(warn_requeue_and_preempt, 1, ["gpu=4", "nodes=1"]),
    # Without the warning, which would come first.
    "out of time": Case(run_out_of_time, 1, ["gpu=1", f"runtime={MINUTES}", "slurm_extra=--nice=0"]),
    "two left alone": Case(leave_alone, 2, ["gpu=1"]),
    "two cancelled": Case(cancel, 2, ["gpu=1"]),
}


@pytest.fixture(scope="module")
def trainings(finished_demo, slurm_command, slurm_environment, accounting, tmp_path_factory):
    """By case: the weights, the stops (step, reason), the states of the Slurm jobs."""
    root = tmp_path_factory.mktemp("trainings")
    overlay = root / "steps.yaml"
    overlay.write_text(yaml.safe_dump({"synthesis": {"auxiliary": {"detector": {"training": TRAINING}}}}))

    def train(name):
        case = CASES[name]
        folder = root / name.replace(" ", "_")
        shutil.copytree(finished_demo, folder, symlinks=True)
        shutil.rmtree(folder / FOLDER / "checkpoints")
        (folder / FOLDER / "weights.safetensors").unlink()
        (folder / LOG).unlink()
        # On accelerators the command starts one process for each by itself.
        rules = folder / "workflow/rules/synthesis.smk"
        rules.write_text(rules.read_text().replace("{threads} \\", f"{{threads}} --processes {case.processes} \\", 1))
        options = ["--set-threads", f"{RULE}={case.processes}"]
        options += ["--set-resources", *[f"{RULE}:{resource}" for resource in case.resources]]
        command = slurm_command(*options, targets=[str(FOLDER / "weights.safetensors")])
        command.insert(command.index("--"), str(overlay))
        with (folder / "controller.log").open("w") as said:
            controller = subprocess.Popen(command, cwd=folder, env=slurm_environment, stdout=said, stderr=said)
        try:
            stops = case.disturb(folder)
            controller.wait(PATIENCE)
        finally:
            # It cancels what still runs.
            controller.send_signal(signal.SIGINT)
            controller.wait()
        assert controller.returncode == 0, (folder / "controller.log").read_text()[-8000:]
        assert f"processes {case.processes}," in log(folder)
        states = [row["State"].split()[0] for row in accounting(folder, "--duplicates")]
        return (folder / FOLDER / "weights.safetensors").read_bytes(), stops, states

    with ThreadPoolExecutor(len(CASES)) as pool:
        return dict(zip(CASES, pool.map(train, CASES), strict=True))


@pytest.mark.parametrize(
    ("name", "alone"),
    [("pushed", "left alone"), ("out of time", "left alone"), ("two cancelled", "two left alone")],
)
def test_weights_are_those_of_a_training_left_alone(trainings, name, alone):
    assert trainings[name][0] == trainings[alone][0]


@pytest.mark.parametrize(
    ("name", "reasons"),
    [("pushed", ["on SIGTERM"] * 3), ("out of time", ["before its time limit"]), ("two cancelled", ["on SIGTERM"])],
)
def test_each_attempt_goes_on_where_the_last_one_stopped(trainings, name, reasons):
    """That each began after the step of the last stop is what was waited for."""
    steps, found = zip(*trainings[name][1], strict=True)
    assert list(found) == reasons
    assert steps[0] > 0
    assert list(steps) == sorted(set(steps))
    assert steps[-1] < STEPS


@pytest.mark.parametrize(
    ("name", "states"),
    [
        ("left alone", "COMPLETED"),
        # The second job was started twice.
        ("pushed", "FAILED REQUEUED FAILED COMPLETED"),
        # Where two cores have much to do, once more.
        ("out of time", "(FAILED )+COMPLETED"),
        ("two cancelled", "CANCELLED COMPLETED"),
    ],
)
def test_slurm_or_snakemake_starts_it_again(trainings, name, states):
    assert re.fullmatch(states, " ".join(trainings[name][2]))
