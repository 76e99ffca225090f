"""The Slurm jobs of one folder, asked of Slurm's own programs.

Where a program is missing or does not answer nothing is known, which is no error: a laptop has no Slurm, many a cluster
no accounting.
"""

import logging
import os
import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

log = logging.getLogger(__name__)

QUEUE_FIELDS = "%i|%T|%M|%l|%N|%r|%k|%Z"
ACCOUNT_FIELDS = "JobID,State,Elapsed,Timelimit,NodeList,ExitCode,ReqMem,MaxRSS,WorkDir"
# Slurm tries for a minute to reach a controller that is away.
PATIENCE_SECONDS = 70


@dataclass(frozen=True)
class SlurmJob:
    """One job as Slurm tells of it; what it does not tell is empty.

    state       in Slurm's words and capitals, without additions: RUNNING, PENDING, COMPLETED, CANCELLED, TIMEOUT, ...
    elapsed     as [days-]hours:minutes:seconds, as Slurm writes it; limit likewise
    reason      why it waits
    comment     which rule and wildcards it is of, as the Slurm plugin notes it
    asked       memory asked for, with its unit; peak: the most that one of its steps held
    """

    state: str
    elapsed: str = ""
    limit: str = ""
    nodes: str = ""
    reason: str = ""
    comment: str = ""
    exit_code: str = ""
    asked: str = ""
    peak: str = ""


def queued_jobs(folder: Path, user: int) -> dict[int, SlurmJob]:
    """The waiting and running jobs that this user submitted from the folder, by number."""
    text = _ask(["squeue", "--noheader", f"--user={user}", f"--format={QUEUE_FIELDS}"])
    return read_queue(text, folder)


def accounted_jobs(folder: Path, numbers: Iterable[int]) -> dict[int, SlurmJob]:
    """What the accounting knows of these jobs, as far as they were submitted from the folder."""
    wanted = ",".join(map(str, numbers))
    if not wanted:
        return {}
    return read_accounts(
        _ask(["sacct", "--noheader", "--parsable2", f"--jobs={wanted}", f"--format={ACCOUNT_FIELDS}"]), folder
    )


def read_queue(text: str, folder: Path) -> dict[int, SlurmJob]:
    """Jobs by number from the lines of `squeue`."""
    jobs = {}
    for line in text.splitlines():
        number, state, elapsed, limit, nodes, reason, comment, place = line.split("|", 7)
        if number.isdigit() and _same(place, folder):
            jobs[int(number)] = SlurmJob(state, elapsed, limit, nodes, reason, comment)
    return jobs


def read_accounts(text: str, folder: Path) -> dict[int, SlurmJob]:
    """Jobs by number from the lines of `sacct`, which tells the memory of each step on lines of their own."""
    jobs: dict[int, SlurmJob] = {}
    for line in text.splitlines():
        name, state, elapsed, limit, nodes, exit_code, asked, peak, place = line.split("|", 8)
        number, _, step = name.partition(".")
        if not step and number.isdigit() and _same(place, folder):
            # A cancelled job's state goes on with who cancelled it.
            jobs[int(number)] = SlurmJob(
                state.partition(" ")[0], elapsed, limit, nodes, exit_code=exit_code.partition(":")[0], asked=asked
            )
        elif step and number.isdigit() and int(number) in jobs:
            job = jobs[int(number)]
            jobs[int(number)] = replace(job, peak=max(job.peak, peak, key=_bytes))
    return jobs


def _same(place: str, folder: Path) -> bool:
    return os.path.realpath(place) == os.path.realpath(folder)


def _bytes(memory: str) -> float:
    """`138940K` as bytes; 0 where it is empty."""
    number = re.match(r"[\d.]+", memory)
    return float(number[0]) * 1024 ** " KMGTP".index(memory[number.end() :][:1] or " ") if number else 0.0


def _ask(command: Sequence[str]) -> str:
    """What the program prints; nothing, with a word on stderr, where it fails."""
    try:
        run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS)
    except FileNotFoundError:
        return ""
    except subprocess.TimeoutExpired:
        log.warning("%s does not answer; going by the logs", command[0])
        return ""
    if run.returncode:
        log.warning("%s: %s; going by the logs", command[0], " ".join(run.stderr.split()))
        return ""
    return run.stdout
