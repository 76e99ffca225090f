import math

import pytest

from msdiff.cluster.costs import plan_run, restarts
from msdiff.cluster.records import JobRecord


def hours(value, gpus=0):
    """A record that speaks for every job without wildcards and with so many GPUs."""
    return [JobRecord(value, {}, gpus, None, ())]


@pytest.fixture
def study(job):
    """Two patients of two steps in one submission, a training on two GPUs, a table beside Snakemake; and records."""
    jobs = [
        job("all", inputs=["table"], benchmark=None),
        job("table", inputs=["weights"], outputs=["table"], benchmark=None),
        job("train", inputs=["b1", "b2"], outputs=["weights"], threads=8, resources={"gpu": "2", "mem_mb": "64000"}),
        job("second", inputs=["a1"], outputs=["b1"], group=1, threads=1),
        job("second", inputs=["a2"], outputs=["b2"], group=1, threads=1),
        job("first", outputs=["a1"], group=1, threads=4),
        job("first", outputs=["a2"], group=1, threads=4),
    ]
    return jobs, {"first": hours(2.0), "second": hours(0.5), "train": hours(10.0, gpus=2)}


def test_a_submission_holds_its_widest_layer_for_the_sum_of_its_layers(study):
    plan = plan_run(*study)
    rows = {row.rule: row for row in plan.rows}
    # 8 cores for 2.5 hours, shared out by 2 x 4 x 2 and 2 x 1 x 0.5 core-hours of use.
    assert rows["first"].core_hours + rows["second"].core_hours == pytest.approx(8 * 2.5)
    assert rows["first"].core_hours == pytest.approx(20 * 16 / 17)
    assert rows["train"].core_hours == 80
    assert rows["train"].gpu_hours == 20
    assert plan.largest == (8, 64, 2)


def test_sums_are_those_of_the_rows(study):
    plan = plan_run(*study)
    assert plan.core_hours == pytest.approx(sum(row.core_hours for row in plan.rows)) == 100
    assert sum(plan.gpu_hours.values()) == pytest.approx(sum(row.gpu_hours for row in plan.rows)) == 20
    assert (plan.submissions, plan.local_jobs) == (2, 2)
    assert sum(row.jobs for row in plan.rows) + plan.local_jobs == len(study[0])
    assert [row.rule for row in plan.rows] == ["first", "second", "train"]


def test_the_shortest_run_is_the_longest_chain(study, job):
    plan = plan_run(*study)
    assert (plan.chain, plan.chain_hours) == (["first + second", "train"], 12.5)
    jobs, records = study
    beside = job("aside", inputs=["a1"], outputs=["c"])
    assert plan_run([*jobs, beside], records | {"aside": hours(9.0)}).chain_hours == 12.5
    assert plan_run([*jobs, beside], records | {"aside": hours(11.0)}).chain == ["first + second", "aside"]


def test_the_longest_job_is_named(study):
    plan = plan_run(*study)
    assert (plan.longest, plan.longest_hours) == ("train", 10)


def test_what_is_done_already_costs_nothing(study):
    jobs, records = study
    plan = plan_run(jobs[:3], records)
    assert (plan.chain, plan.core_hours) == (["train"], 80)


def test_measured_and_stated_are_told_apart(study, job):
    jobs, records = study
    plan = plan_run(jobs, records | {"train": []})
    sources = {row.rule: row.source for row in plan.rows}
    assert sources == {"first": "measured, n=1", "second": "measured, n=1", "train": "no estimate: its time limit"}
    other = job("first", resources={"gpu": "1"})
    mixed = {row.rule: row.source for row in plan_run([*jobs, other], records).rows}
    assert mixed["first"] == "measured, n=1; 1 jobs stated"


def test_gpus_are_counted_by_type(job):
    jobs = [
        job("one", resources={"gpu": "1", "gpu_model": "a100"}),
        job("two", resources={"gpu": "2", "gpu_model": "h100"}),
        job("three", resources={"gpu": "1"}),
    ]
    assert plan_run(jobs, {}).gpu_hours == {"a100": 1, "h100": 2, "any": 1}


@pytest.mark.parametrize(
    ("long", "expected"), [(0.1, 0), (0.95, 0), (0.96, 1), (1.9, 1), (1.91, 2), (9.5, 9), (math.nextafter(9.5, 10), 10)]
)
def test_a_training_is_restarted_until_it_is_done(job, long, expected):
    """Of a limit of an hour it uses 57 minutes."""
    training = job("train", resources={"runtime": "60"}, options={"checkpoints": ("folder",)})
    assert restarts(training, long) == expected
    assert restarts(job("register", resources={"runtime": "60"}), long) == 0
    assert restarts(job("train", resources={"runtime": ""}, options={"checkpoints": ("folder",)}), long) == 0
