"""Time of planning and of submitting, beside what Snakemake and Slurm need for next to nothing, as ratios in one run.

    python benchmarks/workflow.py [--repeats 3] [--jobs 10] [--parts plan submission] [-- --profile slurm all]

Plan: a dry-run of the workflow (arguments after `--`), and one of a workflow that has as many rules and jobs and
nothing in them: one output each, no inputs, no config; the floor of Snakemake itself. By turns; wall and CPU seconds,
median, per job. Parse: what every job on a cluster pays before its command starts, twice, since Snakemake starts twice
in it.

Submission: as many jobs that only write the date, by a loop of `sbatch` and through the workflow's Slurm profile;
seconds from one submission to the next, and from the first submission to the last output noticed. Where no Slurm
answers this part is left out, and that is said. The profile looks at new jobs after 40 seconds, late for jobs of one
second; here it looks after `--first-look` seconds. The nodes must see the folder in which this is started.
"""

import argparse
import os
import platform
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROFILE = ROOT / "profiles/slurm"
PARTS = ["plan", "submission"]
STATS = re.compile(r"^job\s+count\n-+\s+-+\n(.*?)^total", re.MULTILINE | re.DOTALL)
MEMORY_MB, MINUTES = 500, 5
NOTICED_EVERY_SECONDS = 0.05
PATIENCE_SECONDS = 600


def main() -> None:
    """Measure both parts and print them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="of each plan")
    parser.add_argument("--jobs", type=int, default=10, help="to submit in each way")
    parser.add_argument("--first-look", type=int, default=2, help="seconds before the profile looks at new jobs")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("arguments", nargs="*", metavar="-- SNAKEMAKE ARGUMENTS", default=["--profile", "slurm", "all"])
    arguments = parser.parse_args()
    print(f"{machine()}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        if "plan" in arguments.parts:
            compare_plans(arguments.arguments, arguments.repeats, Path(folder))
        if "submission" in arguments.parts:
            compare_submissions(arguments.jobs, arguments.first_look, Path(folder))


def machine() -> str:
    """The processor's name, and the system."""
    names = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return f"{names[0] if names else platform.processor()}, {platform.system()} {platform.release()}"


def compare_plans(arguments: Sequence[str], repeats: int, folder: Path) -> None:
    """Dry-runs of the workflow and of the empty one, and the time to parse."""
    plan = ["snakemake", "--dry-run", "--printshellcmds", *arguments]
    found = STATS.search(subprocess.run(plan, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
    if found is None:
        sys.exit("plan: there is nothing to do; give other targets, or start from a checkout without results")
    counts = {rule: int(count) for rule, count in map(str.split, found[1].splitlines())}
    jobs = sum(counts.values())
    (folder / "Snakefile").write_text(empty_workflow(counts))
    empty = ["snakemake", "--dry-run", "--printshellcmds", "--cores", "1", "--directory", str(folder)]
    ways = {
        "plan": (plan, ROOT),
        "plan of nothing": ([*empty, "--snakefile", str(folder / "Snakefile")], folder),
        "parse": (["snakemake", "--list-rules", "--quiet"], ROOT),
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, (command, where) in ways.items():
            times[name].append(seconds(command, where))
    wall, cpu = ({name: statistics.median(pair[of] for pair in times[name]) for name in ways} for of in (0, 1))
    print(f"{jobs} jobs of {len(counts)} rules: {' '.join(arguments)}")
    for name in ways:
        each = f"{1000 * cpu[name] / jobs:6.2f} CPU ms a job" if name != "parse" else ""
        print(f"{name:16s} {wall[name]:7.2f} s, {cpu[name]:6.2f} CPU s {each}")
    print(f"ratio            {cpu['plan'] / cpu['plan of nothing']:7.2f}   (CPU seconds, plan over plan of nothing)")


def empty_workflow(counts: dict[str, int]) -> str:
    """A Snakefile of as many rules and jobs, all of them independent."""
    rules = {rule: count for rule, count in counts.items() if rule != "all"}
    wanted = "".join(f'        expand("{rule}/{{number}}", number=range({count})),\n' for rule, count in rules.items())
    bodies = [
        f'rule {rule}:\n    output:\n        "{rule}/{{number}}",\n    shell:\n        "touch {{output}}"\n'
        for rule in rules
    ]
    return "\n\n".join([f"rule all:\n    input:\n{wanted}", *bodies])


def seconds(command: Sequence[str], folder: Path) -> tuple[float, float]:
    """Wall and CPU seconds of a command that must succeed."""
    wall, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def compare_submissions(jobs: int, first_look: int, folder: Path) -> None:
    """The same jobs by sbatch and through the profile."""
    if not shutil.which("sinfo") or subprocess.run(["sinfo"], capture_output=True, check=False).returncode:
        print("submission: left out, no Slurm answers here (sinfo)")
        return
    for name in ("sbatch", "profile"):
        (folder / name).mkdir()
    times = {
        "sbatch": by_sbatch(jobs, folder / "sbatch"),
        "profile": by_profile(jobs, folder / "profile", first_look),
    }
    print(f"{jobs} jobs that write the date")
    for name, (apart, whole) in times.items():
        print(f"{name:16s} {apart:7.2f} s a submission, {whole / jobs:6.2f} s a job until the last is noticed")
    ours, plain = times["profile"], times["sbatch"]
    print(f"ratio            {ours[0] / plain[0]:7.1f}   (a submission), {ours[1] / plain[1]:.1f} (a job)")


def by_sbatch(jobs: int, folder: Path) -> tuple[float, float]:
    """Seconds of a submission, and from the first submission to the last output, by a loop."""
    began = time.perf_counter()
    limits = [f"--mem={MEMORY_MB}", f"--time={MINUTES}", "--output=/dev/null"]
    for number in range(jobs):
        order = ["sbatch", "--parsable", *limits, "--wrap", f"date > {number}"]
        subprocess.run(order, cwd=folder, capture_output=True, check=True)
    apart = (time.perf_counter() - began) / jobs
    while len(list(folder.iterdir())) < jobs:
        if time.perf_counter() - began > PATIENCE_SECONDS:
            sys.exit(f"sbatch: {jobs} jobs did not end within {PATIENCE_SECONDS} s; see squeue")
        time.sleep(NOTICED_EVERY_SECONDS)
    return apart, time.perf_counter() - began


def by_profile(jobs: int, folder: Path, first_look: int) -> tuple[float, float]:
    """The same through Snakemake with the workflow's Slurm profile, from what it says and when."""
    (folder / "Snakefile").write_text(
        f'rule all:\n    input:\n        expand("done/{{number}}", number=range({jobs})),\n    localrule: True\n\n\n'
        f'rule date:\n    output:\n        "done/{{number}}",\n'
        f"    resources:\n        mem_mb={MEMORY_MB},\n        runtime={MINUTES},\n"
        f'    shell:\n        "date > {{output}}"\n'
    )
    look = ["--slurm-init-seconds-before-status-checks", str(first_look)]
    command = ["snakemake", "--profile", str(PROFILE), *look, "--", "all"]
    submitted: list[float] = []
    finished: list[float] = []
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        for line in run.stdout or []:
            if "has been submitted with SLURM jobid" in line:
                submitted.append(time.perf_counter())
            elif line.startswith("Finished jobid") and "(Rule: date)" in line:
                finished.append(time.perf_counter())
    if run.returncode or len(finished) != jobs:
        sys.exit(f"profile: Snakemake ended with {run.returncode} after {len(finished)} of {jobs} jobs; see {folder}")
    return (submitted[-1] - submitted[0]) / max(jobs - 1, 1), finished[-1] - submitted[0]


if __name__ == "__main__":
    main()
