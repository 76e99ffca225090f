"""One line per event: what is said of the records of Snakemake and its Slurm plugin, and of a run on this machine."""

import importlib.util
import io
import logging
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BAD = "msdiff normalise: error: no brain in sub-02; exclude it"


@pytest.fixture
def said(monkeypatch, tmp_path):
    """A function that tells the handler of a record, and returns what it then says, without the time."""
    spec = importlib.util.spec_from_file_location("events", ROOT / "workflow/events.py")
    events = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(events)
    monkeypatch.chdir(tmp_path)
    stream = io.StringIO()
    handler = events.Events(stream, show_failed_logs=True)

    def say(msg, event=None, **about):
        stream.seek(0)
        stream.truncate()
        handler.handle(logging.makeLogRecord({"msg": msg, "event": event} | about))
        return re.sub(r"^\w{3} \d\d \d\d:\d\d:\d\d ", "", stream.getvalue()).splitlines()

    return say


def submitted(number, slurm, folder):
    log = Path.cwd() / f"results/logs/slurm/{folder}/{slurm}.log"
    return f"Job {number} has been submitted with SLURM jobid {slurm} (log: {log})."


def begin(say, number, rule, local=False, log=(), **wildcards):
    return say("Rule", "job_info", jobid=number, rule_name=rule, wildcards=wildcards, local=local, log=list(log))


def fail(say, number, rule, logs, message=None, **aux):
    about = {"rule_name": rule, "rule_msg": message, "jobid": number, "log": logs, "aux": aux, "indent": False}
    return say("Error in rule", "job_error", **about)


def test_a_job_of_slurm_is_submitted_and_finishes(said):
    assert begin(said, 8, "mix", generator="long", mix="1-2") == []
    assert said("Auto-selected partition 'cpu' for job mix with score 0.03") == []
    assert said(submitted(8, 66, "rule_mix/long_1-2")) == [
        "submitted  mix long 1-2: Slurm job 66, log results/logs/slurm/rule_mix/long_1-2/66.log"
    ]
    assert said("Finished jobid: 8 (Rule: mix)", "job_finished", job_id=8) == []
    assert said(None, "progress", done=4, total=9) == ["finished   mix long 1-2 (4 of 9 jobs, 44 %)"]


def test_a_job_beside_the_controller_starts(said):
    assert begin(said, 1, "quality", local=True) == ["started    quality"]


def test_jobs_submitted_together_are_told_together(said):
    assert said("Group job imaging", "group_info", group_id="imaging") == []
    for number, subject in enumerate(["sub-01", "sub-02"]):
        begin(said, number, "register", subject=subject)
        begin(said, number + 2, "normalise", subject=subject)
    assert said(submitted("b55a-3f", 62, "group_imaging_normalise_register")) == [
        "submitted  imaging: Slurm job 62, log results/logs/slurm/group_imaging_normalise_register/62.log"
    ]
    for number in range(4):
        said("Finished", "job_finished", job_id=number)
    assert said(None, "progress", done=4, total=8) == ["finished   register 2, normalise 2 (4 of 8 jobs, 50 %)"]


def test_a_failure_shows_the_jobs_log_and_where_slurms_is(said):
    Path("own.log").write_text("".join(f"line {number}\n" for number in range(100)) + f"{BAD}\n")
    Path("66.log").write_text(
        "SNAKEMAKE\n" * 50 + "slurmstepd-cpu1: error: *** JOB 66 ON cpu1 CANCELLED DUE TO TIME LIMIT\n"
    )
    begin(said, 8, "mix", mix="1-2")
    message = "SLURM-job '66' failed, SLURM status is: 'TIMEOUT'. For further error details see the log."
    line, *shown = fail(said, 8, "mix", ["own.log", "66.log"], message, external_jobid="66")
    assert line == "failed     mix 1-2: Slurm job 66, TIMEOUT, log own.log"
    assert shown[-3:] == [
        f"    {BAD}",
        "    slurmstepd-cpu1: error: *** JOB 66 ON cpu1 CANCELLED DUE TO TIME LIMIT",
        "    (Slurm's log: 66.log)",
    ]
    assert len(shown) == 22
    assert not any("SNAKEMAKE" in each for each in shown)


def test_a_job_that_ended_before_its_command_shows_slurms_log(said):
    Path("66.log").write_text("Building DAG of jobs...\nMissingInputException: no such file\n")
    shown = fail(said, 8, "mix", ["own.log", "66.log"], external_jobid="66")
    assert "    MissingInputException: no such file" in shown


def test_an_earlier_attempts_log_explains_nothing(said):
    Path("own.log").write_text(f"{BAD}\n")
    Path("66.log").write_text("Building DAG of jobs...\nsrun: error: Unable to create step\n")
    begin(said, 8, "mix", log=["own.log"])
    shown = fail(said, 8, "mix", ["own.log", "66.log"], external_jobid="66")
    assert f"    {BAD}" not in shown
    assert "    srun: error: Unable to create step" in shown


def test_a_refused_submission_tells_why(said):
    begin(said, 8, "mix", mix="1-2")
    message = (
        "SLURM sbatch failed. The error message was 'sbatch: error: invalid partition specified: nix\n"
        "sbatch: error: Invalid name'.\n    sbatch call:\n        sbatch --parsable\n"
    )
    assert fail(said, 8, "mix", ["own.log"], message) == [
        "failed     mix 1-2: sbatch: error: invalid partition specified: nix sbatch: error: Invalid name, log own.log"
    ]
    about = {"groupid": "imaging", "job_error_info": [], "aux_logs": []}
    assert said("Error in group imaging", "group_error", **about) == [
        "failed     imaging: not submitted; docs/cluster.md tells how to ask Slurm why"
    ]
    assert said("Exiting because a job execution failed.") == ["not done   mix 1-2; imaging"]


def test_a_failure_in_a_group_names_the_job_at_fault(said):
    Path("sub-02.log").write_text(f"{BAD}\n")
    Path("sub-01.log").write_text("12:00:00 msdiff: wrote sub-01\n")
    said("Group job imaging", "group_info", group_id="imaging")
    infos = []
    for number, subject in enumerate(["sub-01", "sub-02"]):
        begin(said, number, "normalise", subject=subject)
        infos.append({"jobid": number, "rule_name": "normalise", "log": [f"{subject}.log"]})
    said(submitted("b55a-3f", 62, "group_imaging_normalise"))
    about = {"groupid": "imaging", "job_error_info": infos, "aux_logs": ["62.log"], "external_jobid": "62"}
    assert said("Error in group imaging", "group_error", **about) == [
        "failed     imaging: Slurm job 62",
        "    normalise sub-02, log sub-02.log",
        f"    {BAD}",
    ]
    assert said("Trying to restart job b55a-3f.") == ["again      imaging (Slurm job 62)"]
    assert said("Exiting because a job execution failed. Look above for error messages") == ["not done   see above"]


def test_what_failed_and_was_not_started_again_is_named_at_the_end(said):
    begin(said, 8, "mix", mix="1-2")
    begin(said, 9, "mix", mix="1-3")
    fail(said, 8, "mix", [])
    fail(said, 9, "mix", [])
    assert said("Trying to restart job 8.") == ["again      mix 1-2"]
    assert said("Exiting because a job execution failed. Look above for error messages") == ["not done   mix 1-3"]


def test_other_messages_pass_as_they_are(said):
    assert said("Nothing to be done (all requested files are present and up to date).") == [
        "Nothing to be done (all requested files are present and up to date)."
    ]
    assert said("===== A Job preemption  occured! =====", levelno=logging.WARNING)


SNAKEFILE = """
from workflow.events import show_events
show_events(workflow)

rule all:
    input: "good", "bad"

rule make:
    output: "good"
    log: "good.log"
    shell: "echo fine >{log}; touch {output}"

rule fail:
    output: "bad"
    log: "bad.log"
    shell: "echo 'msdiff fail: error: no such luck' >{log}; exit 2"
"""


@pytest.mark.workflow
def test_a_run_on_this_machine_says_a_line_per_event(tmp_path, environment):
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    (tmp_path / "workflow").mkdir()
    shutil.copy(ROOT / "workflow/events.py", tmp_path / "workflow")
    command = ["snakemake", "--cores", "1", "--keep-going", "--retries", "1", "--show-failed-logs", "--printshellcmds"]
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    lines = [re.sub(r"^\w{3} \d\d \d\d:\d\d:\d\d ", "", line) for line in run.stderr.splitlines()]
    attempt = ["started    fail", "failed     fail: log bad.log", "    msdiff fail: error: no such luck"]
    assert [line for line in lines if line.partition(" ")[0] in {"failed", "again", "not"} or line in attempt] == [
        *attempt,
        "again      fail",
        *attempt,
        "not done   fail",
    ]
    assert "finished   make (1 of 3 jobs, 33 %)" in lines
    assert "echo fine" not in run.stderr
    assert len(lines) < 30
    # The log file is complete.
    (log,) = tmp_path.glob(".snakemake/log/*.log")
    assert "echo fine >good.log; touch good" in log.read_text()
    # A dry-run and --verbose are Snakemake's own.
    dry = subprocess.run([*command, "-n"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert "rule fail:" in dry.stdout
