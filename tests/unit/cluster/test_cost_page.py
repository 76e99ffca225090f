import csv

import pytest

from msdiff.cluster.cost_page import misfits, number, page, write_table
from msdiff.cluster.costs import plan_run
from msdiff.cluster.records import JobRecord


@pytest.fixture
def plan(job):
    """Two short jobs and a training of 80 hours on four GPUs within 24 hours."""
    jobs = [
        job("register", outputs=["a"], wildcards={"subject": "sub-1"}),
        job("register", outputs=["b"], wildcards={"subject": "sub-2"}),
        job(
            "train",
            inputs=["a", "b"],
            resources={"gpu": "4", "gpu_model": "a100", "runtime": "1440"},
            options={"checkpoints": ("folder",)},
        ),
    ]
    records = {
        "register": [JobRecord(0.5, {"subject": "sub-9"}, 0, None, ())],
        "train": [JobRecord(80.0, {}, 4, "a100", ())],
    }
    return plan_run(jobs, records)


def test_page_tells_rules_sources_and_sums(plan):
    lines = page(plan, gpus=8, free_gb=100)
    table = [line.split() for line in lines[: lines.index("")]]
    assert table[0][:3] == ["rule", "jobs", "submitted"]
    assert [row[0] for row in table[1:]] == ["register", "train"]
    assert table[2] == ["train", "1", "1", "1", "4", "4", "80", "80", "24", "80", "320", "0", "[1]"]
    text = "\n".join(lines)
    assert "[1] measured, n=1" in text
    assert "submissions        3, and 0 short jobs" in text
    assert "GPU-hours          320 (320 on a100)" in text
    assert "longest job        80 h: train" in text
    assert "register, then train" in text


@pytest.mark.parametrize(("gpus", "bound"), [(4, "80"), (8, "80"), (2, "160")])
def test_few_gpus_bound_the_run_from_below(plan, gpus, bound):
    (line,) = [line for line in page(plan, gpus, 100) if line.startswith(f"with {gpus} GPUs")]
    assert line.split()[3] == bound


def test_what_does_not_fit_is_said(plan, job):
    (restarted,) = misfits(plan, gpus=4, free_gb=100)
    assert "train: 80 h are more than its limit of 24 h" in restarted
    assert "restarted 3 times" in restarted
    assert any("asks for 4 GPUs, there are 2" in line for line in misfits(plan, gpus=2, free_gb=100))
    assert any("disk" in line for line in misfits(plan, gpus=4, free_gb=-1))
    slow = plan_run([job("register")], {"register": [JobRecord(2.0, {}, 0, None, ())]})
    assert "would be ended there" in misfits(slow, None, 100)[0]


def test_table_holds_every_rule_once(plan, tmp_path):
    write_table(plan.rows, tmp_path / "plan.csv")
    with (tmp_path / "plan.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["rule"] for row in rows] == ["register", "train"]
    assert float(rows[1]["gpu_hours"]) == 320


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.0001, "<0.001"), (0.0123, "0.012"), (9.94, "9.9"), (9.96, "10"), (479.6, "480")]
)
def test_numbers_can_be_read_at_a_glance(value, text):
    assert number(value) == text
