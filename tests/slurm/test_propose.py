"""`cluster propose` against Slurm's own configuration, and jobs sent where the proposal says."""

import re
import subprocess
import sys

import pytest
import yaml
from cluster import TEMPLATES

from msdiff.cluster.partitions import ask, propose

pytestmark = pytest.mark.slurm
ONE_OF_EACH = """
rule all:
    input: "gpu", "cpu"
rule gpu:
    output: "gpu"
    resources: gpu=2, gpu_model="a100", mem_mb=1000, runtime=5
    shell: "touch {output}"
rule cpu:
    output: "cpu"
    resources: mem_mb=1000, runtime=5
    shell: "touch {output}"
"""


def configured(key):
    """The lines of slurm.conf that begin with a key, as dicts."""
    lines = (TEMPLATES / "slurm.conf").read_text().splitlines()
    return [dict(re.findall(r"(\w+)=(\S+)", line)) for line in lines if line.startswith(f"{key}=")]


def minutes(time):
    days, _, clock = time.rpartition("-")
    hours, minute, _ = clock.split(":")
    return int(days or 0) * 1440 + int(hours) * 60 + int(minute)


@pytest.fixture(scope="module")
def proposal(slurm_command, checkout, environment):
    """The command's own file in a clean checkout, and what it said."""
    _, _, *demo = slurm_command()
    command = [sys.executable, "-m", "msdiff", "cluster", "propose", "--", *demo]
    run = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return checkout / "profiles/slurm/partitions.yaml", run.stderr


def test_proposal_says_what_the_configuration_says(proposal):
    nodes = {node["NodeName"]: node for node in configured("NodeName")}
    expected = {}
    for partition in configured("PartitionName"):
        node = nodes[partition["Nodes"]]
        limits = {"max_runtime": minutes(partition["MaxTime"]), "max_mem_mb": int(node["RealMemory"])}
        limits["max_threads"] = int(node["CPUs"])
        if "Gres" in node:
            _, model, count = node["Gres"].split(":")
            limits |= {"max_gpu": int(count), "available_gpu_models": [model]}
        expected[partition["PartitionName"]] = limits
    # Its jobs push those of a100 aside.
    del expected["urgent"]
    path, _ = proposal
    assert yaml.safe_load(path.read_text()) == {"partitions": expected}
    assert "# urgent: its jobs push those of a100 aside" in path.read_text()


def test_everything_that_the_workflow_asks_for_fits(proposal):
    _, said = proposal
    assert "wrote profiles/slurm/partitions.yaml" in said
    assert "all that the workflow asks for fits" in said


def test_jobs_go_where_it_says(proposal, slurm_command, slurm_environment, accounting, tmp_path):
    (tmp_path / "Snakefile").write_text(ONE_OF_EACH)
    options = ["--executor", "slurm", "--slurm-partition-config", str(proposal[0]), "--jobs", "2"]
    quick = ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "1"]
    command = [*slurm_command()[:2], *options, *quick, "--latency-wait", "5", "all"]
    run = subprocess.run(command, cwd=tmp_path, env=slurm_environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    jobs = {(row["Rule"], row["Partition"], row["GPUs"]) for row in accounting(tmp_path)}
    assert jobs == {("gpu", "a100", 2), ("cpu", "cpu", 0)}


def scontrol(*words):
    subprocess.run(["scontrol", *words], capture_output=True, check=True)


@pytest.fixture
def changed_cluster(cluster):
    """For a while a node is drained, and partitions are there as other clusters have them."""
    added = {
        "long": ["MaxTime=UNLIMITED", "MaxCPUsPerNode=8", "MaxMemPerNode=50000"],
        "hidden": ["Hidden=YES"],
        "closed": ["State=DOWN"],
        "physics": ["AllowAccounts=physics"],
        "debug": ["MaxTime=10"],
    }
    for name, words in added.items():
        scontrol("create", f"PartitionName={name}", "Nodes=cpu[1-2]", *words)
    scontrol("update", "NodeName=cpu2", "State=DRAIN", "Reason=test")
    yield
    scontrol("update", "NodeName=cpu2", "State=RESUME")
    for name in added:
        scontrol("delete", f"PartitionName={name}")


@pytest.mark.usefixtures("changed_cluster")
def test_other_kinds_of_partitions_are_read_as_slurm_prints_them():
    entries = {entry.name: entry for entry in propose(ask())}
    left_out = {name for name, entry in entries.items() if entry.left_out}
    assert left_out == {"urgent", "hidden", "closed", "physics", "debug"}
    assert "AllowAccounts=physics" in entries["physics"].left_out
    assert entries["long"].offers[0] == (float("inf"), 50000, 8, 0, ())
    assert any("not counted: cpu2" in comment and "DRAIN" in comment for comment in entries["cpu"].comments)
