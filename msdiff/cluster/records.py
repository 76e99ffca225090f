"""What jobs took before, from the benchmarks that Snakemake writes, and which planned jobs they speak for.

A record speaks for a job of the same rule with the same settings, on as many GPUs of the same type. A demonstration's
seconds must not pass for those of a study, and most steps say nothing of the size of an image: every planned job before
it must have been recorded with its present settings, too.
"""

import ast
import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from msdiff.benchmarks import read_benchmarks
from msdiff.cluster.dry_run import PlannedJob

SECONDS_PER_HOUR = 3600
BYTES_PER_MB = 1e6
# Parameters that shape the work of a job, where its rule has them.
SHAPING = ("settings", "shards", "contrasts")


class JobRecord(NamedTuple):
    """One job that ended: hours of its last attempt, what it was given, and what it was told."""

    hours: float
    wildcards: Mapping[str, str]
    gpus: int
    gpu_model: str | None
    told: tuple[tuple[str, tuple[str, ...]], ...]


class Measured(NamedTuple):
    """What jobs like this one took: mean hours and MB, over how many of them."""

    hours: float
    mb: float
    jobs: int


def read_records(benchmarks: str | Path) -> dict[str, list[JobRecord]]:
    """The records of every rule; none where Snakemake wrote no extended benchmarks.

    Raises BadInput where a benchmark cannot be read.
    """
    records = read_benchmarks(benchmarks, _record)
    return {rule: [record for record in known if record] for rule, known in records.items()}


def measured(jobs: Sequence[PlannedJob], records: Mapping[str, list[JobRecord]]) -> list[Measured | None]:
    """What is known of each job; the jobs come after those whose files they read."""
    means: dict[object, Measured | None] = {}
    sound: dict[str, bool] = {}
    known = []
    for job in jobs:
        shape = (job.rule, job.gpus, job.gpu_model, *(job.options.get(name) for name in SHAPING))
        if shape not in means:
            means[shape] = _mean(job, [record for record in records.get(job.rule, []) if _alike(job, record)])
        before = all(sound.get(path, True) for path in job.inputs)
        known.append(means[shape] if before else None)
        sound |= dict.fromkeys(job.outputs, before and (job.local or means[shape] is not None))
    return known


def counterpart(path: str, wildcards: Mapping[str, str], others: Mapping[str, str]) -> str:
    """The path that a job of the same rule with other wildcards has in place of this one."""
    # The longest first: a seed of 0 is also a part of a mix 1-0.
    for name, value in sorted(wildcards.items(), key=lambda item: -len(item[1])):
        path = re.sub(rf"(?<![A-Za-z0-9]){re.escape(value)}(?![A-Za-z0-9])", f"\0{name}\0", path)
    for name, value in others.items():
        path = path.replace(f"\0{name}\0", value)
    return path


def _record(row: Mapping[str, str]) -> JobRecord | None:
    """What a row tells; None where it does not tell what the job was given."""
    if not row.get("params"):
        return None
    params, resources = ast.literal_eval(row["params"]), ast.literal_eval(row["resources"])
    return JobRecord(
        hours=float(row["s"]) / SECONDS_PER_HOUR,
        wildcards=ast.literal_eval(row["wildcards"]),
        gpus=int(resources.get("gpu", 0)),
        gpu_model=resources.get("gpu_model") or None,
        told=tuple((name, _words(params[name])) for name in SHAPING if name in params),
    )


def _words(value: Any) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else (str(value),)


def _alike(job: PlannedJob, record: JobRecord) -> bool:
    return (
        (record.gpus, record.gpu_model) == (job.gpus, job.gpu_model)
        and set(record.wildcards) == set(job.wildcards)
        and all(job.options.get(name) == words for name, words in record.told)
    )


def _mean(job: PlannedJob, records: Sequence[JobRecord]) -> Measured | None:
    if not records:
        return None
    folders = [*job.outputs, *job.options.get("checkpoints", ())]
    paths = [[Path(counterpart(path, job.wildcards, record.wildcards)) for path in folders] for record in records]
    # A benchmark tells of the last attempt, a training's history of all.
    hours = [max([record.hours, *map(_history_hours, own)]) for record, own in zip(records, paths, strict=True)]
    mb = [sum(map(_megabytes, own)) for own in paths]
    return Measured(fmean(hours), fmean(mb), len(records))


def _history_hours(path: Path) -> float:
    """Hours to the last row of a training's history; 0 of any other file."""
    if path.name != "history.csv" or not path.is_file():
        return 0.0
    with path.open(encoding="utf-8", newline="") as file:
        return max((float(row["seconds"]) for row in csv.DictReader(file)), default=0.0) / SECONDS_PER_HOUR


def _megabytes(path: Path) -> float:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file()) / BYTES_PER_MB
