"""`python -m msdiff plan` on the real workflow."""

import csv
import re
import subprocess
import sys

import pytest

pytestmark = pytest.mark.workflow


@pytest.fixture
def plan(checkout, environment):
    def call(*arguments):
        command = [sys.executable, "-m", "msdiff", "plan", *arguments]
        return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)

    return call


def test_paper_scale_run_is_sized(plan, tmp_path):
    told = plan("--out", str(tmp_path / "plan.csv"), "--gpus", "8")
    assert told.returncode == 0, told.stderr
    submissions, local = map(int, re.search(r"submissions +(\d+), and (\d+) short", told.stdout).groups())
    assert submissions <= 1000
    with (tmp_path / "plan.csv").open(newline="") as file:
        rows = {row["rule"]: row for row in csv.DictReader(file)}
    assert sum(int(row["jobs"]) for row in rows.values()) + local == 568
    # Nothing ran here, and there is an estimate for every rule.
    assert all(row["source"].startswith("stated: ") for row in rows.values())
    assert {rule for rule, row in rows.items() if float(row["gpu_hours"]) > 0} == {
        "train_auxiliary",
        "train_generator",
        "train_ablation",
        "sample_images",
        "train_detector",
        "train_prior",
        "train_control",
        "sample_forecasts",
    }
    assert 60 < float(rows["train_generator"]["gpu_hours"]) < 100
    # As the profile asks for it, all fits into its time limits.
    assert [rule for rule, row in rows.items() if float(row["longest_hours"]) > 0.95 * float(row["limit_hours"])] == []
    assert "with 8 GPUs" in told.stdout


def test_a_longer_training_costs_more(plan, tmp_path):
    hours = []
    # So long that the ablation's trainings beside it do not count.
    for steps in (10**10, 2 * 10**10):
        (tmp_path / "overlay.yaml").write_text(f"synthesis: {{long_ms_diff: {{training: {{steps: {steps}}}}}}}")
        options = ["--config", "size=demo", "--configfile", str(tmp_path / "overlay.yaml")]
        arguments = ["--profile", "slurm", *options, "--", "all"]
        told = plan("--out", str(tmp_path / "plan.csv"), "--", *arguments)
        assert told.returncode == 0, told.stderr
        with (tmp_path / "plan.csv").open(newline="") as file:
            hours += [float(row["gpu_hours"]) for row in csv.DictReader(file) if row["rule"] == "train_generator"]
    assert hours[1] == pytest.approx(2 * hours[0], rel=0.001)


def test_nothing_to_do_is_said(plan, tmp_path):
    (tmp_path / "Snakefile").write_text('rule done:\n    output: "done"\n    shell: "touch {output}"\n')
    (tmp_path / "done").touch()
    told = plan("--", "--cores", "1", "--snakefile", str(tmp_path / "Snakefile"), "--directory", str(tmp_path), "done")
    assert (told.returncode, told.stdout.split(":")[0]) == (0, "Nothing to do")


def test_a_refused_dry_run_ends_in_one_line(plan):
    told = plan("--", "--cores", "1", "nothing")
    assert told.returncode == 2
    (line,) = told.stderr.splitlines()
    assert line.startswith("msdiff plan: error: ")
    assert "No rule to produce nothing" in line


def test_rules_that_are_not_submitted_are_those_without_a_benchmark(checkout):
    """A dry-run does not tell which rules are local; the plan goes by this."""
    text = "".join(path.read_text() for path in [checkout / "Snakefile", *checkout.glob("workflow/rules/*.smk")])
    rules = dict(re.findall(r"^rule (\w+):\n(.*?)(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL))
    local = {rule for rule, body in rules.items() if "    localrule: True\n" in body}
    assert {"all", "report"} < local
    assert {rule for rule, body in rules.items() if "    benchmark:\n" not in body} == local
