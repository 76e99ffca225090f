"""The profile for Slurm: what it must say, what its jobs ask for, and how many submissions they make."""

import itertools
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.workflow
ROOT = Path(__file__).parents[2]
GPUS = {"train_auxiliary": 1, "train_generator": 4, "train_ablation": 1, "train_detector": 1, "sample_images": 1}
GPUS |= {"train_prior": 4, "train_control": 4, "sample_forecasts": 1}
DEMO = ["--config", "size=demo"]
MOST_PATIENTS = 2131  # Favero et al. 2025


TEXT = "".join(path.read_text() for path in [ROOT / "Snakefile", *(ROOT / "workflow/rules").glob("*.smk")])


def rule_texts():
    """The text of each rule, by its name."""
    return dict(re.findall(r"^rule (\w+):\n((?:(?: .*)?\n)+)", TEXT, re.MULTILINE))


def table_texts():
    """What is said of each table, by its name; the rules of tables are made of it."""
    return dict(re.findall(r'"(\w+)"\]?(?::| =) table\(((?:[^()]|\([^()]*\))*)\)', TEXT))


LOCAL = {name for name, rule in rule_texts().items() if "localrule: True" in rule}
LOCAL |= {name for name, table in table_texts().items() if "local=True" in table}


def snakemake(checkout, environment, *arguments):
    # Without cores a dry-run has one, and each job one thread.
    command = ["snakemake", "--profile", "slurm", "-n", "--cores", "1000", *arguments, "--", "all"]
    return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)


def submissions(checkout, environment, *arguments):
    """What Snakemake would submit: each a list of jobs, more than one where they are a group."""
    planned = snakemake(checkout, environment, *arguments)
    assert planned.returncode == 0, planned.stderr
    found = []
    for line in planned.stdout.splitlines():
        rule = re.fullmatch(r"( *)rule (\w+):", line)
        if re.match(r"\[.*\] Group job ", line) or (rule and not rule.group(1)):
            found.append([])
        if rule:
            found[-1].append({"rule": rule.group(2), "wildcards": "", "threads": 1, "gpu": 0, "gpu_model": None})
        elif stated := re.fullmatch(r" +threads: (\d+)", line):
            found[-1][-1]["threads"] = int(stated.group(1))
        elif stated := re.fullmatch(r" +wildcards: (.*)", line):
            found[-1][-1]["wildcards"] = stated.group(1)
        elif stated := re.fullmatch(r" +resources: (.*)", line):
            resources = dict(each.split("=", 1) for each in stated.group(1).split(", "))
            found[-1][-1] |= {name: int(value) if value.isdigit() else value for name, value in resources.items()}
    return [jobs for jobs in found if jobs[0]["rule"] not in LOCAL]


def asked(jobs):
    """What a submission asks for, as Snakemake adds it: jobs of a rule side by side, the rules one after the other."""
    rules = [[job for job in jobs if job["rule"] == rule] for rule in {job["rule"] for job in jobs}]
    together = {name: max(sum(job[name] for job in rule) for rule in rules) for name in ("threads", "mem_mb", "gpu")}
    return together | {"runtime": sum(max(job["runtime"] for job in rule) for rule in rules)}


@pytest.fixture(scope="module")
def paper_scale(checkout, environment):
    return submissions(checkout, environment)


@pytest.fixture(scope="module")
def attempts(checkout, environment):
    """What the demo would submit, were all its jobs at their first, second and third attempt.

    Batches of 13 of its 108 trial patients fill a group of eight.
    """
    demo = [*DEMO, "cohort={trials: {patients_per_job: 13}}"]
    return [submissions(checkout, environment, *demo, "--attempt", str(attempt)) for attempt in (1, 2, 3)]


def test_paper_scale_run_is_few_submissions(paper_scale):
    jobs = [job for submission in paper_scale for job in submission]
    assert len([job for job in jobs if job["rule"] == "register"]) == -(-170 // 20)
    assert len([job for job in jobs if job["rule"] == "simulate_aligned"]) == -(-MOST_PATIENTS // 20)
    assert len(jobs) <= 2500
    assert len(paper_scale) <= 430


def test_the_largest_cohort_is_few_submissions(paper_scale):
    """Only what is done by patient grows with the study's cohort.

    The cohort of its forecasts is as large, and simulated.
    """
    by_patient = ("register", "check_quality", "parcellate")
    studied = [each for each in paper_scale if "cohort=phantom" in each[0]["wildcards"].split(", ")]
    kinds = {rule: [each for each in studied if rule in {job["rule"] for job in each}] for rule in by_patient}
    rest = len(paper_scale) - sum(len(kind) for kind in kinds.values())
    patients = [-(-170 // len(kind)) for kind in kinds.values()]
    assert rest + sum(-(-MOST_PATIENTS // count) for count in patients) <= 750


def test_every_submission_of_every_attempt_fits_a_partition_of_its_kind(attempts):
    """CPU jobs stay off the nodes with GPUs; a full group of batches of patients is among them."""
    offered = yaml.safe_load((ROOT / "profiles/slurm/partitions.yaml").read_text())["partitions"].values()
    assert max(len(jobs) for jobs in attempts[0]) == 8
    for jobs in itertools.chain(*attempts):
        request, (model, *others) = asked(jobs), {job["gpu_model"] for job in jobs}
        assert not others
        suited = [
            partition
            for partition in offered
            if bool(partition.get("max_gpu")) == bool(request["gpu"])
            and request["gpu"] <= partition.get("max_gpu", 0)
            and (model is None or model in partition["available_gpu_models"])
            and request["threads"] <= partition["max_threads"]
            and request["mem_mb"] <= partition["max_mem_mb"]
            and request["runtime"] <= partition["max_runtime"]
        ]
        assert suited, (jobs[0]["rule"], request, model)


def test_gpus_are_asked_for_by_type_on_one_node_and_by_those_who_use_them(paper_scale):
    """Slurm counts the GPUs of a job over all its nodes, and the processes of ours want them on one."""
    jobs = [job for submission in paper_scale for job in submission]
    asked = {job["rule"]: (job["gpu"], job["gpu_model"], job["nodes"]) for job in jobs if job["gpu"]}
    assert asked == {rule: (count, "a100", 1) for rule, count in GPUS.items()}
    assert not any(job["gpu_model"] for job in jobs if not job["gpu"])


def test_memory_and_minutes_grow_with_the_attempt_and_those_of_trainings_less(attempts):
    # Jobs of a rule ask for different minutes where their batches are not of one size.
    by_job = [{(job["rule"], job["wildcards"]): job for jobs in submitted for job in jobs} for submitted in attempts]
    for (rule, wildcards), job in by_job[0].items():
        memory, minutes = (
            [each[rule, wildcards][name] / job[name] for each in by_job] for name in ("mem_mb", "runtime")
        )
        training = rule.startswith("train_")
        assert memory == ([1, 2, 2] if training else [1, 2, 3])
        assert minutes == ([1, 1, 1] if training else [1, 2, 3])
        assert (job.get("slurm_extra") == "--signal=TERM@120") == training


def test_each_rule_states_its_memory_and_minutes_and_none_a_partition():
    partitions = yaml.safe_load((ROOT / "profiles/slurm/partitions.yaml").read_text())["partitions"]
    for name, rule in rule_texts().items():
        asks = "mem_mb=memory(" in rule and re.search(r"runtime=min(utes)?\(", rule) is not None
        assert asks != (name in LOCAL), name
        assert not re.search(rf"partition|\b({'|'.join(partitions)})\b", rule), name


def test_a_training_is_the_process_that_slurm_signals():
    """A shell between them dies of SIGTERM, and the job with it, while the checkpoint is being written."""
    trainings = {name: rule for name, rule in rule_texts().items() if name.startswith("train_")}
    assert len(trainings) == 7
    for rule in trainings.values():
        # A number here would count inside the Slurm job too, after the training stopped itself before the limit.
        assert re.findall(r"retries: (.*)", rule) == ["TRAINING_RETRIES"]
        (command,) = re.findall(r'shell:\s+r"""\s+(.*?)"""', rule, re.DOTALL)
        assert re.match(r"exec python -m msdiff train-\w+ \\\n", command)


def test_the_profile_is_safe():
    """Each line's reason stands beside it in the profile."""
    profile = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())
    safe = {
        "executor": "slurm",
        "slurm-status-command": "squeue",
        "slurm-requeue": True,
        "slurm-jobname-prefix": "msdiff",
        "slurm-keep-successful-logs": True,
        "keep-going": True,
        "keep-incomplete": True,
        "rerun-incomplete": True,
        "benchmark-extended": True,
        "retries": 2,
    }
    assert {name: profile.get(name) for name in safe} == safe
    assert "slurm-array-jobs" not in profile
    outage_seconds = profile["slurm-status-attempts"] / profile["max-status-checks-per-second"]
    assert outage_seconds >= 3600
    assert "code" not in profile["rerun-triggers"]


@pytest.fixture
def offering(checkout, environment, tmp_path):
    """A function that plans the training of a generator where the partitions' file says something else, or is not."""

    def planned(partitions, *arguments):
        for name in ("workflow", "envs", "profiles/demo"):
            shutil.copytree(checkout / name, tmp_path / name, dirs_exist_ok=True)
        for name in ("Snakefile", "config.yaml"):
            shutil.copy(checkout / name, tmp_path / name)
        if partitions is not None:
            (tmp_path / "profiles/slurm").mkdir()
            (tmp_path / "profiles/slurm/partitions.yaml").write_text(partitions)
        target = "results/synthesis/phantom/long_ms_diff/weights.safetensors"
        command = ["snakemake", "-n", "--cores", "8", *DEMO, *arguments, "--", target]
        run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        (asked,) = re.findall(r"rule train_generator:.*?resources: (.*?)$", run.stdout, re.DOTALL | re.M) or [""]
        return asked, run

    return planned


GPU_LINE = "max_runtime: 720, max_mem_mb: 100000, max_threads: 8, max_gpu: 2"


@pytest.mark.parametrize(
    ("partitions", "expected", "absent"),
    [
        (None, ["gpu=1", "mem_mb=128000", "runtime=1440"], "gpu_model"),
        # Minutes are cut, for a training resumes; of memory the growth alone.
        (f"partitions: {{gpu: {{{GPU_LINE}}}}}", ["gpu=1", "mem_mb=100000", "runtime=720"], "gpu_model"),
        ("partitions: {gpu: {max_mem_mb: 32000, max_gpu: 2}}", ["gpu=1", "mem_mb=64000", "runtime=1440"], "gpu_model"),
        ("partitions: {cpu: {max_runtime: 9}, gpu: {max_gpu: 2}}", ["gpu=1", "mem_mb=128000", "runtime=1440"], "model"),
        (
            "partitions:\n"
            "  cpu: {max_runtime: 9000, max_mem_mb: 900000, max_threads: 8}\n"
            f"  new: {{{GPU_LINE}, available_gpu_models: [h100]}}\n"
            "  old: {max_runtime: 999, max_mem_mb: 900000, max_threads: 8, max_gpu: 2, available_gpu_models: [v100]}\n",
            ["gpu_model=h100", "mem_mb=100000", "runtime=720"],
            "v100",
        ),
    ],
)
def test_requests_follow_what_the_partitions_offer(offering, partitions, expected, absent):
    asked, _ = offering(partitions, "--attempt", "2")
    assert set(expected) <= set(asked.split(", "))
    assert absent not in asked


@pytest.mark.parametrize(
    ("partitions", "named"),
    [
        ("partitions: [", "expected YAML"),
        ("", "expected keys with values, got null"),
        ("partitions: {}", "partitions: "),
        ("partitions: {cpu: {max_mem_mb: 0}}", "cpu.max_mem_mb"),
        ("partitions: {cpu: {max_runtime: 2-00:00:00, max_mem_mb: 1000, max_threads: 8}}", "cpu.max_runtime"),
        (f"partitions: {{gpu: {{{GPU_LINE}, gpu_models: [a100]}}}}", "gpu_models"),
    ],
)
def test_faulty_partitions_stop_in_one_line(offering, partitions, named):
    _, run = offering(partitions)
    assert run.returncode == 2
    (line,) = [line for line in run.stderr.splitlines() if line.startswith("msdiff: error:")]
    assert "profiles/slurm/partitions.yaml" in line
    assert named in line
    assert "Traceback" not in run.stderr
