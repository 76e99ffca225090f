"""The state of a run from canned words of Slurm and a small tree of logs as the Slurm plugin leaves them."""

import pytest

from msdiff.cluster.progress import (
    CAUSES,
    count_jobs,
    ends_in_error,
    error_line,
    group_title,
    progress_line,
    submitted_jobs,
    survey,
)
from msdiff.cluster.slurm import SlurmJob

GRAPH = """\
digraph snakemake_dag {
    graph[bgcolor=white, margin=0];
    node[shape=box, style=rounded, fontname=sans, fontsize=10, penwidth=2];
\t0[label = "all", color = "0.00 0.6 0.85", style="rounded"];
\t1[label = "detect", color = "0.00 0.6 0.85", style="rounded"];
\t2[label = "train\\narchitecture: unet", color = "0.13 0.6 0.85", style="rounded,dashed"];
\t3[label = "train\\narchitecture: vit", color = "0.13 0.6 0.85", style="rounded"];
\t1 -> 0
\t2 -> 1
\t3 -> 1
}
"""
HEADER = "  Command: snakemake --snakefile Snakefile --target-jobs {targets} --allowed-rules a --cores all\n\n"
ANNOUNCED = """\
    [Sat Nov 21 12:42:20 2026]
    {local}rule {rule}:
        input: results/raw
        output: {output}
        log: {log}
        jobid: 0
        reason: Forced execution
        wildcards: {wildcards}
        resources: mem_mb=500, runtime=5
Shell command: true
"""
BAD_MASK = "msdiff train: error: expected a mask, got none; add it\n"


def write(path, text=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def submit(root, number, name, wildcards, ending="", rule=None, begun=True):
    """The Slurm log of a job of a rule for each of these wildcards, whose commands have begun or not."""
    rule = rule or name.removeprefix("rule_").partition("/")[0]
    targets = " ".join(f"{rule}:{each.replace(', ', ',')}" for each in wildcards)
    text = HEADER.format(targets=targets)
    for each in wildcards:
        stem = "_".join(pair.partition("=")[2] for pair in each.split(", "))
        output, log = f"results/{rule}/{stem}", f"results/logs/{rule}/{stem}.log"
        for local in ["", "local"] if begun else [""]:
            text += ANNOUNCED.format(local=local, rule=rule, wildcards=each, output=output, log=log)
    write(root / "results/logs/slurm" / name / f"{number}.log", text + ending)


def test_jobs_are_counted_by_rule_first_what_others_need():
    assert list(count_jobs(GRAPH).items()) == [("train", (1, 2)), ("detect", (0, 1)), ("all", (0, 1))]


def test_a_submissions_log_tells_its_jobs_their_outputs_and_logs(tmp_path):
    submit(tmp_path, 7, "rule_train/unet_1-2", ["architecture=unet, mix=1-2"])
    (job,) = submitted_jobs((tmp_path / "results/logs/slurm/rule_train/unet_1-2/7.log").read_text())
    assert job.key == ("train", "unet 1-2")
    assert job.outputs == ("results/train/unet_1-2",)
    assert job.logs == ("results/logs/train/unet_1-2.log",)


def test_a_submission_that_has_not_begun_tells_nothing():
    assert submitted_jobs("slurmstepd: error: *** JOB 7 ON cpu1 CANCELLED AT 2026-11-21T12:42:20 ***\n") == []


def test_running_and_waiting_are_slurms_word(tmp_path):
    submit(tmp_path, 7, "rule_train/unet", ["architecture=unet"])
    (tmp_path / "results/logs/slurm/group_imaging_register").mkdir()
    queued = {
        7: SlurmJob("RUNNING", "1:00", "5:00", "gpu1", comment="rule_train_wildcards_unet"),
        8: SlurmJob("PENDING", reason="Priority", comment="rule_train_wildcards_vit"),
        9: SlurmJob("PENDING", reason="Priority", comment="rule_imaging_register"),
        10: SlurmJob("COMPLETING", comment="rule_report"),
    }
    progress = survey(tmp_path, {"train": (0, 2)}, queued, {})
    assert [(each.number, each.name) for each in progress.running] == [(7, "rule_train/unet"), (10, "rule_report")]
    assert [each.name for each in progress.waiting] == ["rule_train/vit", "group_imaging_register"]
    assert progress.failures == []


def test_a_failed_job_is_explained_by_its_own_log(tmp_path):
    submit(tmp_path, 7, "rule_train/unet", ["architecture=unet"], "exit status 2.\n")
    write(tmp_path / "results/logs/train/unet.log", f"12:00:00 msdiff: reading\n{BAD_MASK}")
    (failure,) = survey(tmp_path, {"train": (0, 1)}, {}, {7: SlurmJob("FAILED", "00:00:11", nodes="gpu1")}).failures
    assert (failure.rule, failure.title) == ("train", "train unet")
    assert failure.cause == "failed: Slurm job 7 on gpu1, after 00:00:11"
    assert failure.error == BAD_MASK.strip()
    assert failure.log == "results/logs/train/unet.log"


@pytest.mark.parametrize("state", ["COMPLETED", "RUNNING", "PENDING"])
def test_what_was_submitted_again_is_no_failure(tmp_path, state):
    submit(tmp_path, 7, "rule_train/unet", ["architecture=unet"], "exit status 2.\n")
    write(tmp_path / "results/logs/train/unet.log", BAD_MASK)
    again = {8: SlurmJob(state, comment="rule_train_wildcards_unet")}
    queued, ended = ({}, again) if state == "COMPLETED" else (again, {})
    if state == "COMPLETED":
        submit(tmp_path, 8, "rule_train/unet", ["architecture=unet"])
    assert survey(tmp_path, {"train": (0, 1)}, queued, ended | {7: SlurmJob("FAILED")}).failures == []


def test_what_was_made_since_without_slurm_is_no_failure(tmp_path):
    submit(tmp_path, 7, "rule_train/unet", ["architecture=unet"], "exit status 2.\n")
    write(tmp_path / "results/train/unet")
    assert survey(tmp_path, {"train": (0, 1)}, {}, {7: SlurmJob("FAILED")}).failures == []


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ("srun: error: no step for job 7\nWorkflowError:\nAt least one failed.\n", "srun: error: no step for job 7"),
        ("MissingInputException in rule train:\nno such file\n", "MissingInputException in rule train: no such file"),
    ],
)
def test_a_job_whose_command_did_not_begin_is_not_explained_by_an_older_log(tmp_path, said, complaint):
    submit(tmp_path, 7, "rule_train/unet", ["architecture=unet"], said, begun=False)
    write(tmp_path / "results/logs/train/unet.log", BAD_MASK)
    (failure,) = survey(tmp_path, {"train": (0, 1)}, {}, {7: SlurmJob("FAILED")}).failures
    assert (failure.error, failure.log) == (complaint, "results/logs/slurm/rule_train/unet/7.log")


def test_the_last_of_several_failed_submissions_speaks(tmp_path):
    for number in (7, 8):
        submit(tmp_path, number, "rule_train/unet", ["architecture=unet"], "exit status 1.\n")
    failures = survey(tmp_path, {"train": (0, 1)}, {}, {7: SlurmJob("TIMEOUT"), 8: SlurmJob("FAILED")}).failures
    assert [failure.cause for failure in failures] == ["failed: Slurm job 8"]


def test_of_a_group_the_jobs_with_an_error_failed(tmp_path):
    subjects = [f"subject=sub-{number}" for number in range(4)]
    submit(tmp_path, 7, "group_imaging_register", subjects[:2], "exit status 2.\n", rule="register")
    submit(tmp_path, 8, "group_imaging_register", subjects[2:], rule="register")
    write(tmp_path / "results/register/sub-0")
    write(tmp_path / "results/logs/register/sub-1.log", BAD_MASK)
    ended = {7: SlurmJob("FAILED"), 8: SlurmJob("COMPLETED")}
    (failure,) = survey(tmp_path, {"register": (3, 4)}, {}, ended).failures
    assert failure.title == "register sub-1"
    # The patient runs again, with another one: the group's name is the same, its jobs are not.
    submit(tmp_path, 9, "group_imaging_register", subjects[1:2], rule="register")
    assert survey(tmp_path, {"register": (3, 4)}, {9: SlurmJob("RUNNING")}, ended).failures == []


@pytest.mark.parametrize(
    ("ending", "told", "cause"),
    [
        ("slurmstepd: error: *** JOB 7 ON cpu1 CANCELLED AT 2026 DUE TO TIME LIMIT ***\n", "", "TIMEOUT"),
        ("slurmstepd: error: Step 7.0 exceeded memory limit (6 > 5), being killed\n", "CANCELLED", "OUT_OF_MEMORY"),
        ("slurmstepd: error: Detected 1 oom-kill event(s) in StepId=7.0.\n", "FAILED", "OUT_OF_MEMORY"),
        ("slurmstepd: error: *** JOB 7 ON cpu1 CANCELLED AT 2026 DUE TO NODE FAILURE ***\n", "", "NODE_FAIL"),
        ("slurmstepd: error: *** JOB 7 ON cpu1 CANCELLED AT 2026 ***\n", "", "CANCELLED"),
        ("Command 'x' returned non-zero exit status 75.\n", "FAILED", "OUT_OF_TIME"),
        ("WorkflowError:\nAt least one job did not complete successfully.\n", "", "FAILED"),
        ("", "NODE_FAIL", "NODE_FAIL"),
    ],
)
def test_slurms_word_and_the_log_together_tell_the_cause(tmp_path, ending, told, cause):
    submit(tmp_path, 7, "rule_train/unet", ["architecture=unet"], ending)
    (failure,) = survey(tmp_path, {"train": (0, 1)}, {}, {7: SlurmJob(told)} if told else {}).failures
    words, advice = CAUSES[cause]
    assert failure.cause == f"{words}: Slurm job 7"
    assert failure.advice == advice.format(rule="train")


def test_a_group_that_slurm_ended_is_told_as_one(tmp_path):
    ending = "slurmstepd-cpu1: error: *** JOB 7 ON cpu1 CANCELLED AT 2026 DUE TO TIME LIMIT ***\n"
    submit(tmp_path, 7, "group_imaging_register", [f"subject=sub-{n}" for n in range(4)], ending, rule="register")
    write(tmp_path / "results/register/sub-0")
    (failure,) = survey(tmp_path, {"register": (1, 4)}, {}, {7: SlurmJob("TIMEOUT")}).failures
    assert (failure.rule, failure.title) == ("group_imaging_register", "imaging (3 jobs not done)")
    assert failure.advice.startswith("give its rules more runtime")


def test_memory_is_told_where_it_was_short(tmp_path):
    submit(tmp_path, 7, "rule_train/unet", ["architecture=unet"])
    ended = {7: SlurmJob("OUT_OF_MEMORY", asked="500M", peak="600M")}
    (failure,) = survey(tmp_path, {"train": (0, 1)}, {}, ended).failures
    assert failure.cause.startswith("took more memory than asked (600M of 500M)")


def test_without_slurm_failures_are_read_from_the_logs_of_unfinished_rules(tmp_path):
    write(tmp_path / "results/logs/train/phantom/unet.log", BAD_MASK)
    write(tmp_path / "results/logs/report.log", f"Traceback (most recent call last):\n  File x\n{'ValueError: odd'}\n")
    write(tmp_path / "results/logs/done/phantom.log", BAD_MASK)
    write(tmp_path / "results/logs/detect/phantom.log", "12:00:00 msdiff: wrote scores\n")
    counts = {"train": (0, 1), "report": (0, 1), "done": (1, 1), "detect": (0, 1)}
    failures = survey(tmp_path, counts, {}, {}).failures
    assert [(failure.title, failure.error) for failure in failures] == [
        ("train phantom unet", BAD_MASK.strip()),
        ("report", "ValueError: odd"),
    ]


TRACE = "Traceback (most recent call last):\n  File a, line 1\n    call()\nValueError: odd\nand more of it\n"


@pytest.mark.parametrize(
    ("text", "line", "ended"),
    [
        (BAD_MASK, BAD_MASK.strip(), True),
        (TRACE, "ValueError: odd", True),
        (TRACE + "12:00:00 msdiff.training: wrote weights\n", "ValueError: odd", False),
        (TRACE.replace("odd", "first") + "\nDuring handling, another:\n\n" + TRACE, "ValueError: odd", True),
        ("one\ntwo\n\n", "two", False),
        ("", "", False),
    ],
)
def test_one_line_of_a_log_says_why_it_ended(text, line, ended):
    assert error_line(text) == line
    assert ends_in_error(text) == ended


def test_a_training_is_at_its_newest_step():
    text = "12:31:40 msdiff.training: step 20 of 320, loss 0.5\n12:31:49 msdiff.training: wrote x.pt\n"
    assert progress_line(text) == "step 20 of 320, loss 0.5"
    text = "step 20 of 320: loss 0.5, segmentation 0.2, gradient_norm 0.1, 25.1 samples/s, 12 min left\n"
    assert progress_line(text) == "step 20 of 320: loss 0.5, 25.1 samples/s, 12 min left"
    assert progress_line("step 20 of 320: loss 0.5, 25.1 samples/s, 12 min left\n") == progress_line(text)
    assert progress_line("12:31:49 msdiff.cohort: simulated a patient\n") == "simulated a patient"
    assert progress_line("") == ""


def test_a_groups_name_is_free_of_its_rules():
    assert group_title("check_quality", {"quality", "check_quality"}) == "check_quality"
    assert group_title("group_imaging_correct_bias_register", {"register", "correct_bias", "bias"}) == "imaging"
