"""The page that `msdiff status` prints."""

import os

import pytest

from msdiff.cluster.overview import overview
from msdiff.cluster.progress import Failure, RunProgress, Submission
from msdiff.cluster.slurm import SlurmJob

NOW = 2_000_000_000.0


def submission(root, number, name, slurm):
    return Submission(number, name, root / f"{number}.log", slurm)


def row(lines, title):
    return next(line.removeprefix(title).split() for line in lines if line.startswith(f"{title} "))


def test_the_table_counts_jobs_and_submissions(tmp_path):
    progress = RunProgress(
        {"register": (3, 8), "train": (0, 1)},
        running=[submission(tmp_path, 7, "rule_train/unet", SlurmJob("RUNNING", "1:00", "5:00", "gpu1"))],
        waiting=[
            submission(tmp_path, n, "group_imaging_register", SlurmJob("PENDING", reason="Priority")) for n in (8, 9)
        ],
        failures=[Failure("register", "register sub-1", "failed", "msdiff register: error: no", "x.log", "mend it")],
    )
    lines = overview(progress, tmp_path, NOW)
    assert lines[0] == "3 of 9 jobs done (33 %); Slurm jobs: 1 running, 2 waiting; failed: 1"
    assert row(lines, "imaging") == ["-", "2", "-"]
    assert row(lines, "register") == ["3", "8", "-", "-", "1"]
    assert row(lines, "train") == ["0", "1", "1", "-", "-"]
    assert "  7  train unet  gpu1  1:00 of 5:00" in lines
    assert "  Priority: imaging 2" in lines
    assert lines[-3:] == ["  register sub-1  failed", "      msdiff register: error: no", "      log: x.log; mend it"]


def test_a_running_training_tells_its_step(tmp_path):
    work = submission(tmp_path, 7, "rule_train/unet", SlurmJob("RUNNING", "1:00", "5:00", "gpu1"))
    work.log.write_text(
        "Command: snakemake --target-jobs train:architecture=unet --cores all\n"
        "rule train:\n    log: train.log\n    wildcards: architecture=unet\n"
    )
    (tmp_path / "train.log").write_text("12:31:40 msdiff.training: step 20 of 320, loss 0.5\n")
    lines = overview(RunProgress({"train": (0, 1)}, running=[work]), tmp_path, NOW)
    assert lines[-1] == "  7  train unet  gpu1  1:00 of 5:00  step 20 of 320, loss 0.5"


@pytest.mark.parametrize("rules", [1, 10, 20])
def test_failures_fill_the_screen(tmp_path, rules):
    failure = Failure("draw", "draw 1", "failed", "line", "x.log", "mend it")
    counts = {f"other_{number}": (0, 100) for number in range(rules)} | {"draw": (0, 100)}
    lines = overview(RunProgress(counts, failures=[failure] * 100), tmp_path, NOW)
    assert 56 <= len(lines) <= 60
    assert lines[-1] == f"  and {100 - lines.count('  draw 1  failed')} more"


def test_the_page_fits_a_screen_and_says_what_it_leaves_out(tmp_path):
    failure = Failure("draw", "draw 1", "failed", "line", "x.log", "mend it")
    progress = RunProgress(
        {f"other_{number}": (0, 100) for number in range(28)} | {"train": (0, 1), "draw": (0, 100)},
        running=[
            submission(tmp_path, n, "rule_train/a" if n == 99 else "rule_draw/a", SlurmJob("RUNNING"))
            for n in range(100)
        ],
        waiting=[submission(tmp_path, n, "rule_draw/a", SlurmJob("PENDING", reason=f"R{n}")) for n in range(100)],
        failures=[failure] * 100,
    )
    lines = overview(progress, tmp_path, NOW)
    assert len(lines) <= 62
    assert lines.count("  and 97 more") == 2
    # A training does not get lost among shards.
    assert lines[lines.index("running") + 1].startswith("  99  train")


def test_the_controller_is_at_work_while_it_holds_the_folder(tmp_path):
    progress = RunProgress({"train": (0, 1)})
    assert overview(progress, tmp_path, NOW)[1] == "controller: none has run here"
    logs = tmp_path / ".snakemake/log"
    logs.mkdir(parents=True)
    run = logs / "2026-11-21T125436.snakemake.log"
    run.write_text("Using profile slurm\n\nSNAKEMAKE\n  Command: /opt/bin/snakemake --profile slurm all\n")
    os.utime(run, (NOW - 300, NOW - 300))
    # A question, such as --unlock or --summary, leaves a log without a command.
    (logs / "2026-11-21T131302.snakemake.log").write_text("Building DAG of jobs...\n")
    assert overview(progress, tmp_path, NOW)[1:3] == [
        "controller: none, last event 5 min ago; start it again to go on",
        "  started as: snakemake --profile slurm all",
    ]
    assert overview(RunProgress({"train": (1, 1)}), tmp_path, NOW)[1] == "controller: none, last event 5 min ago"
    (tmp_path / ".snakemake/locks").mkdir()
    (tmp_path / ".snakemake/locks/0.input.lock").touch()
    assert overview(progress, tmp_path, NOW)[1].startswith("controller: at work, last event 5 min ago; if none is,")
