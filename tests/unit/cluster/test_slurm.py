"""What is read from squeue and sacct, in the words of a real Slurm 22.05."""

import logging
import os
import sys
from pathlib import Path

import pytest

from msdiff.cluster.slurm import accounted_jobs, queued_jobs, read_accounts, read_queue

QUEUE = """\
24|RUNNING|0:43|8:00:00|gpu1|None|rule_train_detector_wildcards_phantom_unet_1-1_0|/studies/run
25|PENDING|0:00|5:00||Resources|rule_imaging_register_strip_skull|/studies/run
26|RUNNING|0:11|5:00|gpu1|None|rule_plain_wildcards_3|/studies/other
27_3|RUNNING|0:11|5:00|gpu1|None||/studies/run
"""
ACCOUNTS = """\
62|FAILED|00:00:11|00:10:00|cpu1|1:0|1000M||/studies/run
62.batch|FAILED|00:00:11||cpu1|1:0||138660K|
62.0|FAILED|00:00:07||cpu1|1:0||1.5M|
63|CANCELLED by 1000|00:00:20|00:05:00|cpu1|0:0|500M||/studies/run
64|COMPLETED|00:00:47|00:05:00|cpu1|0:0|500M||/studies/other
64.batch|COMPLETED|00:00:47||cpu1|0:0||138580K|
"""


def test_the_queue_tells_of_the_jobs_of_this_folder():
    jobs = read_queue(QUEUE, Path("/studies/run"))
    assert set(jobs) == {24, 25}
    assert (jobs[24].state, jobs[24].elapsed, jobs[24].limit, jobs[24].nodes) == ("RUNNING", "0:43", "8:00:00", "gpu1")
    assert (jobs[25].state, jobs[25].reason) == ("PENDING", "Resources")
    assert jobs[25].comment == "rule_imaging_register_strip_skull"


def test_the_accounting_tells_of_ends_and_of_the_most_memory_a_step_held():
    jobs = read_accounts(ACCOUNTS, Path("/studies/run"))
    assert set(jobs) == {62, 63}
    assert (jobs[62].state, jobs[62].asked, jobs[62].peak) == ("FAILED", "1000M", "138660K")
    assert jobs[63].state == "CANCELLED"


def test_a_folder_reached_through_a_link_is_the_same_folder(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to("run")
    line = f"24|RUNNING|0:43|8:00:00|gpu1|None|rule_a|{tmp_path / 'run'}\n"
    assert set(read_queue(line, tmp_path / "link")) == {24}


def test_without_slurm_nothing_is_known(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert queued_jobs(tmp_path, os.getuid()) == {}
    assert accounted_jobs(tmp_path, [1]) == {}
    assert not caplog.records


@pytest.mark.skipif(sys.platform == "win32", reason="writes a program for a POSIX shell")
def test_a_slurm_that_does_not_answer_is_told_and_no_error(monkeypatch, tmp_path, caplog):
    for name in ("squeue", "sacct"):
        (tmp_path / name).write_text("#!/bin/sh\necho 'Slurm accounting storage is disabled' >&2\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with caplog.at_level(logging.WARNING):
        assert queued_jobs(tmp_path, os.getuid()) == {}
        assert accounted_jobs(tmp_path, [1, 2]) == {}
    assert "Slurm accounting storage is disabled" in caplog.text
