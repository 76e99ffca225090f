import logging
import subprocess
from math import inf
from types import SimpleNamespace

import numpy as np
import pytest
from snakemake_executor_plugin_slurm.partitions import get_best_partition, read_partition_file

from msdiff.__main__ import main
from msdiff.cluster import partitions
from msdiff.cluster.dry_run import PlannedJob
from msdiff.cluster.partitions import RuleRequest, edited, file_text, gpus_of, misfits, propose, requests

# As Slurm 22.05 to 24.05 print them with --oneliner.
PARTITION = (
    "PartitionName={PartitionName} AllowGroups={AllowGroups} AllowAccounts={AllowAccounts} AllowQos={AllowQos} "
    "AllocNodes=ALL Default={Default} QoS={QoS} DefaultTime=NONE DisableRootJobs=NO ExclusiveUser=NO GraceTime=20 "
    "Hidden={Hidden} MaxNodes=UNLIMITED MaxTime={MaxTime} MinNodes={MinNodes} LLN=NO MaxCPUsPerNode={MaxCPUsPerNode} "
    "MaxCPUsPerSocket=UNLIMITED Nodes=n[1-9] PriorityJobFactor=1 PriorityTier={PriorityTier} RootOnly=NO ReqResv=NO "
    "OverSubscribe={OverSubscribe} OverTimeLimit=NONE PreemptMode={PreemptMode} State={State} TotalCPUs=64 "
    "TotalNodes=9 SelectTypeParameters=NONE JobDefaults=(null) DefMemPerNode=UNLIMITED "
    "MaxMemPerNode={MaxMemPerNode} TRES=cpu=64"
)
PARTITION_FIELDS = {
    "AllowGroups": "ALL",
    "AllowAccounts": "ALL",
    "AllowQos": "ALL",
    "Default": "NO",
    "QoS": "N/A",
    "Hidden": "NO",
    "MaxTime": "2-00:00:00",
    "MinNodes": "0",
    "MaxCPUsPerNode": "UNLIMITED",
    "PriorityTier": "1",
    "OverSubscribe": "NO",
    "PreemptMode": "OFF",
    "State": "UP",
    "MaxMemPerNode": "UNLIMITED",
}
NODE = (
    "NodeName={NodeName} Arch=x86_64 CoresPerSocket=32  CPUAlloc=3 CPUEfctv={CPUEfctv} CPUTot=128 CPULoad=2.45 "
    "AvailableFeatures=(null) ActiveFeatures=(null) Gres={Gres} NodeAddr=10.0.0.1 NodeHostName={NodeName} "
    "Version=22.05.8 OS=Linux 5.14.0 #1 SMP PREEMPT_DYNAMIC Thu May  RealMemory={RealMemory} AllocMem=9 FreeMem=7 "
    "Sockets=2 Boards=1 MemSpecLimit={MemSpecLimit} State={State} ThreadsPerCore=2 TmpDisk=0 Weight=1 "
    "Owner=N/A MCS_label=N/A Partitions={Partitions}  BootTime=2026-11-21T12:12:35 CfgTRES=cpu=1,mem=1M "
    "AllocTRES= CapWatts=n/a Comment=State=DOWN Reason=disk RealMemory=1 [root@2026-11-20T10:00:00]"
)
NODE_FIELDS = {"CPUEfctv": "64", "Gres": "(null)", "RealMemory": "256000", "MemSpecLimit": "0", "State": "IDLE"}
CONFIG = (
    "Configuration data as of 2026-11-21T12:00:00\nPreemptMode             = REQUEUE\nPreemptType             = {}\n"
)
PARTITION_PRIORITY = CONFIG.format("preempt/partition_prio")


def partition(name, **fields):
    return PARTITION.format(**PARTITION_FIELDS | {"PartitionName": name} | fields)


def node(name, *of, **fields):
    return NODE.format(**NODE_FIELDS | {"NodeName": name, "Partitions": ",".join(of)} | fields)


def answers(partitions, nodes, **others):
    given = {"config": CONFIG.format("preempt/none"), "groups": "staff ms\n"} | others
    return given | {"partitions": "\n".join(partitions) + "\n\n", "nodes": "\n".join(nodes) + "\n"}


def proposed(slurm):
    """By name, the best offer of each proposed partition."""
    return {entry.name: entry.offers[0] for entry in propose(slurm) if entry.left_out is None}


def reasons(slurm):
    return {entry.name: entry.left_out for entry in propose(slurm) if entry.left_out is not None}


def read_by_plugin(slurm, folder):
    (folder / "partitions.yaml").write_text(file_text(propose(slurm)))
    return read_partition_file(folder / "partitions.yaml")


def chosen(offered, *, gpu=0, gpu_model=None, mem_mb=0, runtime=0, threads=1):
    """The partition to which the plugin would send a job."""
    resources = {"gpu": gpu, "mem_mb": mem_mb, "runtime": runtime}
    if gpu_model:
        resources["gpu_model"] = gpu_model
    job = SimpleNamespace(name="job", threads=threads, resources=resources)
    return get_best_partition(offered, job, logging.getLogger("plugin"))


@pytest.mark.parametrize(
    ("gres", "gpus"),
    [
        ("(null)", {}),
        ("gpu:4", {"": 4}),
        ("gpu:a100:4(S:0-1)", {"a100": 4}),
        ("gpu:a100:4(S:0,1),gpu:v100:2(S:1)", {"a100": 4, "v100": 2}),
        ("gpu:a100_3g.20gb:2,gpu:a100_1g.5gb:3", {"a100_3g.20gb": 2, "a100_1g.5gb": 3}),
        ("gpu:tesla_v100-sxm2-32gb:8,shard:16,tmp:800G", {"tesla_v100-sxm2-32gb": 8}),
        ("gpu:a100:no_consume:2", {"a100": 2}),
        ("craynetwork:4", {}),
    ],
)
def test_gpus_are_read_by_type(gres, gpus):
    assert gpus_of(gres) == gpus


@pytest.mark.parametrize(
    ("time", "minutes"),
    [("2-00:00:00", 2880), ("01:30:00", 90), ("1-12:30:00", 2190), ("UNLIMITED", inf), ("INFINITE", inf)],
)
def test_time_limits_are_read_in_minutes(tmp_path, time, minutes):
    slurm = answers([partition("cpu", MaxTime=time)], [node("n1", "cpu")])
    assert proposed(slurm)["cpu"].minutes == minutes
    assert read_by_plugin(slurm, tmp_path)[0].limits.max_runtime == minutes


def test_limits_are_those_of_node_and_partition():
    slurm = answers(
        [
            partition("cpu", Default="YES", MaxCPUsPerNode="48", MaxMemPerNode="200000"),
            partition("gpu", MaxTime="7-00:00:00"),
        ],
        [
            node("n1", "cpu"),
            node("g1", "gpu", Gres="gpu:a100:4(S:0-1)", RealMemory="1031000", MemSpecLimit="7000", CPUEfctv="126"),
        ],
    )
    assert proposed(slurm) == {"gpu": (10080, 1024000, 126, 4, ("a100",)), "cpu": (2880, 200000, 48, 0, ())}


def test_first_type_of_gpu_is_that_of_the_strongest_nodes():
    slurm = answers(
        [partition("old"), partition("new"), partition("cpu", Default="YES")],
        [
            node("o1", "old", Gres="gpu:v100:2"),
            node("n1", "new", Gres="gpu:h100:4"),
            node("c1", "cpu", RealMemory="4000000"),
        ],
    )
    assert list(proposed(slurm)) == ["new", "old", "cpu"]


def test_limits_of_different_nodes_are_not_mixed(tmp_path):
    slurm = answers(
        [partition("mixed")],
        [
            node("a1", "mixed", Gres="gpu:a100:4", RealMemory="500000", CPUEfctv="32"),
            node("v1", "mixed", Gres="gpu:v100:8", RealMemory="250000", CPUEfctv="48"),
            node("c1", "mixed", RealMemory="2000000", CPUEfctv="128"),
            node("c2", "mixed", RealMemory="100000", CPUEfctv="16"),
        ],
    )
    (entry,) = propose(slurm)
    assert entry.offers[0] == (2880, 500000, 32, 4, ("a100",))
    # The others have something more; c2 has less of all and is no offer of its own.
    assert set(entry.offers[1:]) == {(2880, 250000, 48, 8, ("v100",)), (2880, 2000000, 128, 0, ())}
    text = file_text([entry])
    assert "  # mixed: {max_runtime: 2880, max_mem_mb: 2000000, max_threads: 128}\n" in text
    assert "3 of its nodes have less or other: v1, c1, c2" in text
    assert len(read_by_plugin(slurm, tmp_path)) == 1


def test_of_several_types_in_a_node_the_most_frequent_is_offered():
    slurm = answers([partition("gpu")], [node("g1", "gpu", Gres="gpu:a30:2,gpu:a100:4")])
    assert proposed(slurm)["gpu"][3:] == (4, ("a100",))
    slurm = answers([partition("gpu")], [node("g1", "gpu", Gres="gpu:v100:2,gpu:a100:2")])
    assert proposed(slurm)["gpu"][3:] == (2, ("a100", "v100"))


def test_a_job_gets_one_part_of_a_gpu_for_a_process_sees_no_more():
    slurm = answers([partition("mig")], [node("g1", "mig", Gres="gpu:a100_3g.20gb:2,gpu:a100_2g.10gb:3")])
    assert proposed(slurm)["mig"][3:] == (1, ("a100_2g.10gb", "a100_3g.20gb"))
    slurm = answers([partition("mig")], [node("g1", "mig", Gres="gpu:a100_3g.20gb:4,gpu:a100:2")])
    assert proposed(slurm)["mig"][3:] == (2, ("a100",))


@pytest.mark.parametrize("gres", ["gpu:4", "gpu:tesla_v100-sxm2-32gb:4"])
def test_gpus_without_a_type_that_the_plugin_passes_on_are_counted_only(tmp_path, gres):
    slurm = answers([partition("gpu")], [node("g1", "gpu", Gres=gres)])
    (offered,) = read_by_plugin(slurm, tmp_path)
    assert (offered.limits.max_gpu, offered.limits.available_gpu_models) == (4, None)


@pytest.mark.parametrize(
    "state",
    [
        "DOWN",
        "DOWN*",
        "IDLE+DRAIN",
        "MIXED+DRAIN",
        "IDLE*",
        "DOWN+DRAIN+NOT_RESPONDING",
        "FUTURE",
        "IDLE+FAIL",
        "INVAL",
    ],
)
def test_nodes_that_take_no_jobs_do_not_count(state):
    nodes = [node("n1", "cpu"), node("n2", "cpu", RealMemory="999000", State=state)]
    slurm = answers([partition("cpu")], nodes)
    assert proposed(slurm)["cpu"].memory_mb == 256000
    assert f"not counted: n2 {state}" in file_text(propose(slurm))
    assert state in reasons(answers([partition("cpu")], nodes[1:]))["cpu"]


@pytest.mark.parametrize("state", ["MIXED", "ALLOCATED", "IDLE+CLOUD+POWERED_DOWN", "IDLE~", "MIXED+PLANNED", "IDLE#"])
def test_nodes_that_work_or_sleep_count(state):
    assert "cpu" in proposed(answers([partition("cpu")], [node("n1", "cpu", State=state)]))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"State": "DOWN"}, "DOWN"),
        ({"State": "DRAIN"}, "DRAIN"),
        ({"Hidden": "YES"}, "hidden"),
        ({"AllowAccounts": "physics,chemistry"}, "AllowAccounts=physics,chemistry"),
        ({"AllowAccounts": "ALL DenyAccounts=ms,neuro,physics"}, "DenyAccounts=ms,neuro,physics"),
        ({"AllowGroups": "physics"}, "AllowGroups=physics"),
        ({"AllowQos": "premium"}, "AllowQos=premium"),
        ({"MinNodes": "4"}, "4 nodes"),
        ({"MaxTime": "00:30:00"}, "30 minutes"),
    ],
)
def test_partitions_of_no_use_are_left_out_with_the_reason(tmp_path, fields, said):
    nodes = [node("n1", "cpu", "other")]
    slurm = answers(
        [partition("cpu"), partition("other", **fields)], nodes, accounts="neuro\nms\n", qos="normal,long\n"
    )
    assert list(proposed(slurm)) == ["cpu"]
    assert said in reasons(slurm)["other"]
    assert [offered.name for offered in read_by_plugin(slurm, tmp_path)] == ["cpu"]
    assert f"  # other: {reasons(slurm)['other']}\n" in file_text(propose(slurm))


def test_partitions_for_one_of_the_users_accounts_groups_and_qos_are_proposed():
    fields = {"AllowAccounts": "ms,physics", "AllowGroups": "staff", "AllowQos": "long"}
    slurm = answers([partition("own", **fields)], [node("n1", "own")], accounts="neuro\nms\n", qos="normal,long\n")
    assert list(proposed(slurm)) == ["own"]
    assert "AllowAccounts=ms,physics" in file_text(propose(slurm))


def test_without_accounting_access_is_told_and_not_judged():
    slurm = answers([partition("own", AllowAccounts="physics")], [node("n1", "own")])
    assert list(proposed(slurm)) == ["own"]
    assert "AllowAccounts=physics" in file_text(propose(slurm))


def test_of_partitions_on_the_same_nodes_the_one_that_pushes_jobs_aside_is_left_out():
    rows = [partition("a100", PreemptMode="REQUEUE"), partition("urgent", PriorityTier="10", MaxTime="01:00:00")]
    nodes = [node("g1", "a100", "urgent", Gres="gpu:a100:4")]
    assert reasons(answers(rows, nodes, config=PARTITION_PRIORITY)) == {"urgent": "its jobs push those of a100 aside"}
    # Without preemption the tier only orders the queue.
    assert list(proposed(answers(rows, nodes))) == ["a100", "urgent"]
    # What is closed to the user is no alternative.
    closed = [partition("a100", PreemptMode="REQUEUE", AllowGroups="physics"), rows[1]]
    assert list(proposed(answers(closed, nodes, config=PARTITION_PRIORITY))) == ["urgent"]


def test_jobs_that_would_be_cancelled_and_not_requeued_are_sent_elsewhere():
    rows = [partition("spare", PreemptMode="CANCEL"), partition("main", PriorityTier="2")]
    slurm = answers(rows, [node("n1", "spare", "main")], config=PARTITION_PRIORITY)
    assert list(proposed(slurm)) == ["main"]
    assert "main" in reasons(slurm)["spare"]


@pytest.mark.parametrize("name", ["1", "on", "1080ti", "gpu-a100_long.2"])
def test_names_are_read_back_as_text(tmp_path, name):
    slurm = answers([partition(name)], [node("n1", name, Gres=f"gpu:{'1080' if name == '1' else 'a100'}:1")])
    (offered,) = read_by_plugin(slurm, tmp_path)
    assert offered.name == name
    assert offered.limits.available_gpu_models == ["1080" if name == "1" else "a100"]


@pytest.mark.parametrize("seed", range(20))
def test_what_the_plugin_accepts_one_node_of_that_partition_holds(tmp_path, seed):
    rng = np.random.default_rng(seed)
    names = ["p0", "p1", "p2"]
    nodes = [
        {
            "partitions": rng.choice(names, rng.integers(1, 4), replace=False),
            "cores": int(rng.choice([16, 32, 64])),
            "memory": int(rng.choice([100000, 200000, 400000])),
            "gpus": {model: int(rng.integers(1, 5)) for model in ("a100", "v100") if rng.random() < 0.4},
            "up": rng.random() < 0.8,
        }
        for _ in range(8)
    ]
    minutes = {name: int(rng.choice([60, 600, 6000])) for name in names}
    slurm = answers(
        [partition(name, MaxTime=f"{time // 60}:00:00") for name, time in minutes.items()],
        [
            node(
                f"n{number}",
                *row["partitions"],
                CPUEfctv=str(row["cores"]),
                RealMemory=str(row["memory"]),
                Gres=",".join(f"gpu:{model}:{count}" for model, count in row["gpus"].items()) or "(null)",
                State="IDLE" if row["up"] else "DOWN",
            )
            for number, row in enumerate(nodes)
        ],
    )
    offered = read_by_plugin(slurm, tmp_path)
    accepted = 0
    for _ in range(200):
        gpu = int(rng.integers(0, 5))
        job = {
            "gpu": gpu,
            "gpu_model": str(rng.choice(["a100", "v100"])) if gpu else None,
            "mem_mb": int(rng.integers(1, 420000)),
            "threads": int(rng.integers(1, 66)),
            "runtime": int(rng.integers(1, 6100)),
        }
        name = chosen(offered, **job)
        if name is not None:
            accepted += 1
            assert job["runtime"] <= minutes[name]
            assert any(
                row["up"]
                and name in row["partitions"]
                and row["cores"] >= job["threads"]
                and row["memory"] >= job["mem_mb"]
                and (not gpu or row["gpus"].get(job["gpu_model"], 0) >= gpu)
                for row in nodes
            ), (name, job)
    assert accepted


def job(rule, threads=1, benchmark="results/benchmarks/x.tsv", group=None, **resources):
    return PlannedJob(
        rule, (), (), benchmark, {}, threads, {name: str(value) for name, value in resources.items()}, {}, group
    )


def test_requests_are_the_most_of_each_rule_and_of_submitted_jobs_only():
    jobs = [
        job("parcellate", threads=2, mem_mb=6000, runtime=100),
        job("parcellate", threads=2, mem_mb=9000, runtime=20, disk_mb="<TBD>"),
        job("train_generator", threads=8, gpu=4, mem_mb=64000, runtime=1440),
        job("pair_scans", benchmark=None, mem_mb=4000),
    ]
    assert requests(jobs) == [
        RuleRequest("parcellate", gpus=0, memory_mb=9000, cores=2, minutes=100),
        RuleRequest("train_generator", gpus=4, memory_mb=64000, cores=8, minutes=1440),
    ]


def test_jobs_of_one_submission_ask_together():
    patients = [
        job(rule, threads=2, group=group, mem_mb=6000, runtime=minutes)
        for group, count in {1: 2, 2: 3}.items()
        for rule, minutes in {"register": 30, "correct_bias": 20}.items()
        for _ in range(count)
    ]
    (together,) = requests(patients)
    assert together == ("correct_bias + register", 0, 18000, 6, 50, True)
    entries = propose(answers([partition("cpu")], [node("n1", "cpu", CPUEfctv="4")]))
    (line,) = misfits([together], entries)
    assert "asks for 6 cores" in line
    assert "--group-components" in line


def test_requests_that_fit_nowhere_are_told_with_what_to_pass():
    entries = propose(
        answers(
            [partition("gpu", MaxTime="1-00:00:00"), partition("cpu", MaxTime="04:00:00")],
            [
                node("g1", "gpu", Gres="gpu:a100:2", RealMemory="96000", CPUEfctv="16"),
                node("c1", "cpu", RealMemory="200000"),
            ],
        )
    )
    asked = [
        RuleRequest("train_generator", gpus=4, memory_mb=64000, cores=8, minutes=1440),
        RuleRequest("sample_images", gpus=1, memory_mb=128000, cores=4, minutes=120),
        RuleRequest("stack_scans", gpus=0, memory_mb=128000, cores=32, minutes=240),
        RuleRequest("parcellate", gpus=0, memory_mb=128000, cores=32, minutes=600),
        RuleRequest("register", gpus=0, memory_mb=6000, cores=96, minutes=30),
    ]
    *lines, advice = misfits(asked, entries)
    assert lines == [
        "train_generator asks for 4 GPUs on one node; where the rest fits there are 2",
        "sample_images asks for 128000 MB of memory; where the rest fits there are 96000",
        "parcellate asks for 600 minutes; where the rest fits there are 240",
        "register asks for 96 cores; where the rest fits there are 64",
    ]
    assert advice.partition(": ")[2].split() == [
        *("--set-resources", "train_generator:gpu=2", "sample_images:mem_mb=96000", "parcellate:runtime=240"),
        *("--set-threads", "register=64"),
    ]
    assert misfits([RuleRequest("register", 0, 6000, 4, 30)], entries) == []


def test_what_is_advised_fits():
    entries = propose(answers([partition("gpu")], [node("g1", "gpu", Gres="gpu:a100:2")]))
    asked = RuleRequest("train_generator", gpus=4, memory_mb=64000, cores=8, minutes=1440)
    assert misfits([asked], entries)
    assert misfits([asked._replace(gpus=2)], entries) == []


def test_only_its_own_text_is_unedited():
    text = file_text(propose(answers([partition("cpu")], [node("n1", "cpu")])))
    assert not edited(text)
    assert edited(text.replace("256000", "250000"))
    assert edited(text + "\n")
    assert edited("partitions:\n  cpu: {max_runtime: 10}\n")


@pytest.fixture
def slurm(monkeypatch):
    """A cluster of one node, and a run that asks for more."""
    monkeypatch.setattr(partitions, "ask", lambda: answers([partition("cpu")], [node("n1", "cpu")]))
    block = "[Sat Nov 21 12:23:24 2026]\nrule stack_scans:\n    benchmark: b.tsv\n    resources: mem_mb=300000\n"
    monkeypatch.setattr("msdiff.cluster.dry_run.dry_run", lambda arguments: f"{block}\nJob stats:\n")


@pytest.mark.usefixtures("slurm")
def test_command_writes_the_proposal_and_tells_what_does_not_fit(tmp_path, caplog):
    path = tmp_path / "partitions.yaml"
    for _ in range(2):
        assert main(["cluster", "propose", "--out", str(path)]) == 0
    assert [offered.name for offered in read_partition_file(path)] == ["cpu"]
    assert "stack_scans asks for 300000 MB" in caplog.text


@pytest.mark.usefixtures("slurm")
def test_an_edited_file_is_written_over_by_force_only(tmp_path, capsys):
    path = tmp_path / "partitions.yaml"
    path.write_text("partitions:\n  mine: {max_runtime: 10}\n")
    assert main(["cluster", "propose", "--out", str(path)]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "--force" in message
    assert "mine" in path.read_text()
    assert main(["cluster", "propose", "--out", str(path), "--force"]) == 0
    assert "mine" not in path.read_text()


def test_without_slurm_it_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["cluster", "propose", "--out", str(tmp_path / "partitions.yaml")]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "scontrol" in message
    assert list(tmp_path.iterdir()) == []


def test_a_cluster_that_does_not_answer_is_one_line(tmp_path, monkeypatch, capsys):
    silent = subprocess.CompletedProcess([], 1, "", "slurm_load_conf: Unable to contact\nslurm controller\n")
    monkeypatch.setattr(subprocess, "run", lambda *words, **options: silent)
    assert main(["cluster", "propose", "--out", str(tmp_path / "partitions.yaml")]) == 2
    assert "Unable to contact slurm controller" in capsys.readouterr().err
