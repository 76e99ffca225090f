"""The demo through `snakemake --profile slurm`, to the end and then again."""

import csv
from collections import Counter

import pytest

from msdiff.tables import registry

pytestmark = pytest.mark.slurm
TABLES = [name for name in registry.names() if name != "reader_study"]
# What each asks for; every other job goes to a node without GPUs.
GPUS = {"train_auxiliary": 1, "train_generator": 4, "train_ablation": 1, "sample_images": 1, "train_detector": 1}
GPUS |= {"train_prior": 4, "train_control": 4, "sample_forecasts": 1}


@pytest.fixture(scope="module")
def jobs(finished_demo, accounting):
    return accounting(finished_demo)


def test_tables_and_report_are_there(finished_demo):
    for name in TABLES:
        with (finished_demo / f"results/tables/{name}.csv").open() as file:
            assert any(row["source"] == "msdiff" for row in csv.DictReader(file)), name
    assert "data:image/png;base64" in (finished_demo / "results/report.html").read_text()


def test_every_job_ends_well_at_its_first_attempt(jobs):
    assert {row["State"] for row in jobs} == {"COMPLETED"}


def test_rules_with_gpus_run_where_gpus_are(jobs):
    gpus = {(row["Rule"], row["Partition"], row["NodeList"][:3], row["GPUs"]) for row in jobs if row["Rule"] in GPUS}
    assert gpus == {(rule, "a100", "gpu", number) for rule, number in GPUS.items()}


def test_all_others_run_on_nodes_without(jobs):
    others = {(row["Partition"], row["NodeList"][:3], row["GPUs"]) for row in jobs if row["Rule"] not in GPUS}
    assert others == {("cpu", "cpu", 0)}


def test_short_rules_share_submissions(jobs):
    """Four patients are one job of each step, imaging's in one group; three tables are one, forecasts' five another."""
    submissions = Counter(row["Rule"] for row in jobs)
    (imaging,) = (number for rule, number in submissions.items() if "normalise" in rule)
    assert (imaging, submissions["check_quality"]) == (1, 1)
    # Twelve trial patients are three batches, simulated together, and four of the study one.
    assert (submissions["aligned_simulate_aligned"], submissions["parcellate"]) == (1, 4)
    assert len(jobs) == 56


def test_second_run_submits_nothing(finished_demo, snakemake, accounting, jobs):
    again = snakemake(finished_demo)
    assert again.returncode == 0
    assert "Nothing to be done" in again.stdout
    assert accounting(finished_demo) == jobs
