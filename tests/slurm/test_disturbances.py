"""A run that is disturbed in every way ends as an undisturbed one, and computes again only what was interrupted.

Five branches of a finished run are to be made again. The first call of a command of each is held up until it has been
interrupted, by Slurm or by this test; all in one run, for Slurm looks for jobs over their time only every half minute.
"""

import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from types import SimpleNamespace

import pytest

pytestmark = pytest.mark.slurm
DETECTORS = "results/detection/phantom/long_ms_diff"
GENERATED = "results/synthesis/phantom/long_ms_diff"
QUALITY = "results/preprocessed/phantom/quality/000"
# What is interrupted and how, and what comes after it: Slurm jobs, by the comments that the plugin gives them.
CANCELLED = "rule_train_detector_wildcards_phantom_long_ms_diff_unet_1-1_0"
ORPHANED = "rule_train_detector_wildcards_phantom_long_ms_diff_bit_resnet50_1-1_0"
NODE_DOWN = "rule_sample_images_wildcards_phantom_long_ms_diff_held_out_000"
OVER_TIME = "rule_detect_lesions_wildcards_phantom_long_ms_diff_unet_1-0_0"
OVER_MEMORY = "rule_check_quality_wildcards_phantom_000"
INTERRUPTED = {CANCELLED, ORPHANED, NODE_DOWN, OVER_TIME, OVER_MEMORY}
DOWNSTREAM = {
    "rule_detect_lesions_wildcards_phantom_long_ms_diff_unet_1-1_0",
    "rule_detect_lesions_wildcards_phantom_long_ms_diff_bit_resnet50_1-1_0",
    "rule_score_images_wildcards_phantom_long_ms_diff",
    "rule_tables_augmentation_augmentation_tests_lesion_sizes",
    "rule_forecasts_activity_prediction_calibration_counterfactuals_lesion_count_regional_accuracy",
    "rule_image_quality",
    "rule_ablation",
    "rule_privacy",
    "rule_cohort",
    "rule_plot_figures",
}
# A training and a shard on a node of their own each; a minute is the least that Slurm grants.
RESOURCES = [
    "train_detector:slurm_extra=--nodelist=gpu2",
    "sample_images:slurm_extra=--nodelist=gpu1",
    "detect_lesions:runtime=attempt",
]
# Stands before `python` in the jobs' PATH, notes each call, and holds up the first of some. A training is halted after
# its first checkpoint, that is, in the middle; a signal of Slurm's wakes it.
STAND_IN = """#!{python}
import os
import signal
import sys
import time
from pathlib import Path

words = sys.argv[1:]
notes = Path("{notes}")


def halt_after_a_checkpoint(held):
    checkpoints = Path(words[words.index("--checkpoints") + 1])
    training = os.getpid()
    if os.fork() == 0:
        while not list(checkpoints.rglob("step-*.pt")):
            time.sleep(0.01)
        os.kill(training, signal.SIGSTOP)
        held.touch()
        os._exit(0)


def sleep(held):
    held.touch()
    time.sleep(600)


def fill_memory(held):
    held.touch()
    block = b"." * (4500 << 20)
    time.sleep(600)


with (notes / "calls").open("a") as calls:
    command = "-".join(words[2:4] if words[2] == "table" else words[2:3])
    calls.write(os.environ.get("SLURM_JOB_ID", "here") + " " + command + "\\n")
for command, unit, hold in [
    ("train-detector", "unet/1-1", halt_after_a_checkpoint),
    ("train-detector", "bit_resnet50/1-1", halt_after_a_checkpoint),
    ("sample-images", "held_out", sleep),
    ("detect-lesions", "unet/1-0", sleep),
    ("check-quality", "sub-0001", fill_memory),
]:
    first = notes / ("first_" + command + unit.replace("/", "_"))
    if words[2] == command and any(unit in word for word in words) and not first.exists():
        first.touch()
        hold(first.with_suffix(".held"))
os.execv(sys.executable, [sys.executable, *words])
"""


def forget(folder):
    """Delete what is to be made again, and all that comes after it: Snakemake looks from the end what is missing."""
    detectors = [f"{DETECTORS}/unet/1-0/seed-0/scores", f"{DETECTORS}/unet/1-1", f"{DETECTORS}/bit_resnet50/1-1"]
    for path in [*detectors, f"{GENERATED}/held_out/shards/000", QUALITY, "results/tables"]:
        shutil.rmtree(folder / path)
    for path in [f"{GENERATED}/image_scores.tsv", "results/report.html"]:
        (folder / path).unlink()


def made(folder):
    """The contents of all tables but that of times, of all weights and of the shard."""
    paths = [path for path in (folder / "results/tables").iterdir() if path.name != "compute.csv"]
    paths += (folder / DETECTORS).rglob("weights.safetensors")
    paths += [path for path in (folder / GENERATED / "held_out/shards").rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def slurm(*words):
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def queue(folder):
    """The queued and running jobs of a folder: id and state, by comment."""
    jobs = [line.split("|") for line in slurm("squeue", "--noheader", "--format=%k|%i|%T|%Z").splitlines()]
    return {comment: (job, state) for comment, job, state, place in jobs if place == str(folder)}


def wait(condition, what):
    end = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def disturbed(finished_demo, cluster, slurm_command, slurm_environment, accounting, tmp_path_factory):
    """A copy of the finished run, made again and disturbed; and what was seen meanwhile."""
    notes = tmp_path_factory.mktemp("disturbed")
    folder = notes / "msdiff"
    shutil.copytree(finished_demo, folder, symlinks=True)
    before = made(folder)
    earlier = {row["JobID"] for row in accounting(folder)}
    forget(folder)
    stand_in = notes / "bin/python"
    stand_in.parent.mkdir()
    stand_in.write_text(STAND_IN.format(python=sys.executable, notes=notes))
    stand_in.chmod(0o755)
    environment = slurm_environment | {"PATH": f"{stand_in.parent}:{slurm_environment['PATH']}"}

    def start(name, *options):
        with (notes / name).open("w") as output:
            command = slurm_command("--jobs", "8", "--set-resources", *RESOURCES, *options)
            return subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)

    controller = start("first.log")
    try:
        wait(lambda: len(list(notes.glob("*.held"))) == len(INTERRUPTED), "five commands to be held up")
        # Over its memory, that one has ended and starts again: a job that starts beside slurmctld waits for a minute.
        wait((folder / "results/tables/quality.csv").exists, "the end of the shortest branch")
        cluster.stop_controller()
        cluster.start_controller()
        restarted = time.strftime("%Y-%m-%dT%H:%M:%S")
        # Slurm 22.05 miscounts the GPUs of jobs that start before their node is back with slurmctld.
        wait(lambda: "SlurmdStartTime=None" not in slurm("scontrol", "show", "nodes"), "the nodes")
        slurm("scancel", queue(folder)[CANCELLED][0])
        slurm("scontrol", "update", "NodeName=gpu1", "State=DOWN", "Reason=test")
        ends = [f"{DETECTORS}/unet/{mix}/seed-0/scores" for mix in ("1-0", "1-1")]
        ends += [f"{GENERATED}/image_scores.tsv", "results/tables/image_quality.csv"]
        wait(lambda: all((folder / path).exists() for path in ends), "the ends of all branches but one")
        wait(lambda: list(queue(folder)) == [ORPHANED], "the training of that one to be alone")
    finally:
        controller.kill()
        controller.wait()
    time.sleep(1)
    orphan = queue(folder)[ORPHANED]
    unlocked = start("unlock.log", "--unlock").wait()
    ended = start("second.log").wait()
    jobs = [row for row in accounting(folder, "--duplicates") if row["JobID"] not in earlier]
    comments = {row["JobID"]: row["Comment"] for row in jobs}
    calls = [line.split() for line in (notes / "calls").read_text().splitlines()]
    return SimpleNamespace(
        folder=folder,
        before=before,
        restarted=restarted,
        orphan=orphan,
        exit_codes=(unlocked, ended),
        output=(notes / "second.log").read_text(),
        jobs={comment: [row for row in jobs if row["Comment"] == comment] for comment in comments.values()},
        calls=Counter((comments[job], command) for job, command in calls if job in comments),
    )


def states(jobs):
    """As sacct says, without who cancelled."""
    return [row["State"].partition(" ")[0] for row in jobs]


def training_log(folder, detector):
    return (folder / f"results/logs/train_detector/phantom/long_ms_diff_{detector}_1-1_seed-0.log").read_text()


def test_run_ends_complete_with_the_same_tables(disturbed, snakemake):
    assert disturbed.exit_codes == (0, 0), disturbed.output[-8000:]
    after = made(disturbed.folder)
    assert set(after) == set(disturbed.before)
    assert [path for path in after if after[path] != disturbed.before[path]] == []
    assert "Nothing to be done" in snakemake(disturbed.folder, "--dry-run").stdout


def test_only_what_was_interrupted_is_computed_twice(disturbed):
    assert set(disturbed.jobs) == INTERRUPTED | DOWNSTREAM
    assert {comment for (comment, _), times in disturbed.calls.items() if times == 2} == INTERRUPTED
    assert set(disturbed.calls.values()) == {1, 2}


def test_a_cancelled_training_goes_on_where_it_was(disturbed):
    ends = states(disturbed.jobs[CANCELLED])
    assert (ends[0], ends[-1]) == ("CANCELLED", "COMPLETED")
    assert "continuing from" in training_log(disturbed.folder, "unet")


def test_a_shard_under_a_lost_node_is_put_back_by_slurm_alone(disturbed):
    assert states(disturbed.jobs[NODE_DOWN]) == ["NODE_FAIL", "COMPLETED"]
    assert len({row["JobID"] for row in disturbed.jobs[NODE_DOWN]}) == 1


def test_a_job_over_its_time_gets_another_attempt(disturbed):
    assert states(disturbed.jobs[OVER_TIME]) == ["TIMEOUT", "COMPLETED"]


def test_a_job_over_its_memory_gets_more(disturbed):
    ends = states(disturbed.jobs[OVER_MEMORY])
    assert ends[0] != "COMPLETED"
    assert ends[1:] == ["COMPLETED"]
    megabytes = [int(re.search(r"mem=(\d+)M", row["AllocTRES"]).group(1)) for row in disturbed.jobs[OVER_MEMORY]]
    assert megabytes[1] == 2 * megabytes[0]


def test_a_training_outlives_a_restart_of_slurmctld(disturbed):
    running = disturbed.jobs[ORPHANED][0]
    assert running["Start"] < disturbed.restarted < running["End"]
    assert disturbed.orphan == (running["JobID"], "RUNNING")


def test_a_new_controller_recalls_what_a_killed_one_left(disturbed):
    job, _ = disturbed.orphan
    assert f"msdiff: cancelling Slurm jobs of a killed controller: {job}\n" in disturbed.output
    assert states(disturbed.jobs[ORPHANED]) == ["CANCELLED", "COMPLETED"]
    assert "continuing from" in training_log(disturbed.folder, "bit_resnet50")
