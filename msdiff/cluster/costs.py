"""What a run will cost, before it starts.

Hours and disk of a job are measured, where its like ran in this folder (msdiff.cluster.records), or stated
(msdiff.cluster.estimates). What counts is what is held: a submission holds its cores and GPUs until its last job has
ended. Jobs that are submitted together run in layers, each after the one that it reads from; their submission holds
what the widest layer asks for, and lasts for the longest job of each layer, one after the other.

The shortest possible time is that of the longest chain of submissions, each waiting for the one before. No number of
nodes makes it shorter; with a given number of GPUs it is not below the GPU-hours divided by that number either. Waiting
in the queue comes on top.
"""

import math
from collections.abc import Mapping, Sequence
from graphlib import TopologicalSorter
from typing import NamedTuple

from msdiff.cluster.dry_run import PlannedJob
from msdiff.cluster.estimates import estimate, limit_hours, scale_of
from msdiff.cluster.records import JobRecord, measured

# A training stops itself before its time limit and is started again (msdiff.training).
USED_OF_LIMIT = 0.95
MB_PER_GB = 1000
ANY_GPU = "any"


class Cost(NamedTuple):
    """One job: hours, MB, and where the numbers are from; `jobs` like it were measured, 0 where it is stated."""

    hours: float
    mb: float
    source: str
    jobs: int


class RuleCost(NamedTuple):
    """All jobs of a rule; threads, GPUs, memory, limit and restarts are the most of any job."""

    rule: str
    jobs: int
    submissions: int
    threads: int
    gpus: int
    memory_gb: float
    hours_per_job: float
    longest_hours: float
    limit_hours: float
    restarts: int
    core_hours: float
    gpu_hours: float
    disk_gb: float
    source: str


class SubmissionRequest(NamedTuple):
    """What a submission holds at a time."""

    cores: int
    memory_gb: float
    gpus: int


class Plan(NamedTuple):
    """A run: its rules in the order of the work, and what they come to.

    submissions     what the cluster's queue will see; jobs in `local_jobs` run beside Snakemake instead
    gpu_hours       by type of GPU
    chain           rules of the longest chain of submissions, chain_hours long
    largest         the most cores, memory and GPUs that one submission asks for
    """

    rows: list[RuleCost]
    local_jobs: int
    submissions: int
    core_hours: float
    gpu_hours: dict[str, float]
    disk_gb: float
    longest: str
    longest_hours: float
    chain: list[str]
    chain_hours: float
    largest: SubmissionRequest


class _Submission(NamedTuple):
    """Jobs that are submitted together, by number."""

    jobs: list[int]
    hours: float
    held: SubmissionRequest


class _Charge(NamedTuple):
    """A job with what it takes of its submission, which is given by its number."""

    job: PlannedJob
    cost: Cost
    submission: int
    core_hours: float
    gpu_hours: float


def plan_run(jobs: Sequence[PlannedJob], records: Mapping[str, list[JobRecord]]) -> Plan:
    """The costs of these jobs, at least one, with what is known of jobs like them."""
    jobs, parents = _ordered(jobs)
    costs = _costs(jobs, records)
    submissions = _submissions(jobs, parents, costs)
    charges = _charges(jobs, costs, submissions)
    chain, chain_hours = _longest_chain(parents, submissions)
    longest = max(charges, key=lambda charge: charge.cost.hours)
    submitted = [charge for charge in charges if not charge.job.local]
    gpu_hours: dict[str, list[float]] = {}
    for charge in submitted:
        if charge.job.gpus:
            gpu_hours.setdefault(charge.job.gpu_model or ANY_GPU, []).append(charge.gpu_hours)
    return Plan(
        rows=_rows(submitted),
        local_jobs=len(charges) - len(submitted),
        submissions=len({charge.submission for charge in submitted}),
        core_hours=math.fsum(charge.core_hours for charge in submitted),
        gpu_hours={model: math.fsum(hours) for model, hours in gpu_hours.items()},
        disk_gb=math.fsum(cost.mb for cost in costs) / MB_PER_GB,
        longest=" ".join([longest.job.rule, *longest.job.wildcards.values()]),
        longest_hours=longest.cost.hours,
        chain=[" + ".join(dict.fromkeys(jobs[number].rule for number in submissions[entry].jobs)) for entry in chain],
        chain_hours=chain_hours,
        largest=_widest([submissions[charge.submission].held for charge in submitted]),
    )


def restarts(job: PlannedJob, hours: float) -> int:
    """How often a training stops itself before its time limit and is started again."""
    if "checkpoints" not in job.options:
        return 0
    return max(0, math.ceil(hours / (USED_OF_LIMIT * limit_hours(job))) - 1)


def _ordered(jobs: Sequence[PlannedJob]) -> tuple[list[PlannedJob], list[set[int]]]:
    """The jobs, each after those whose files it reads, and the numbers of those."""
    makers = {path: number for number, job in enumerate(jobs) for path in job.outputs}
    graph = {number: {makers[path] for path in job.inputs if path in makers} for number, job in enumerate(jobs)}
    order = list(TopologicalSorter(graph).static_order())
    place = {number: position for position, number in enumerate(order)}
    return [jobs[number] for number in order], [{place[parent] for parent in graph[number]} for number in order]


def _costs(jobs: Sequence[PlannedJob], records: Mapping[str, list[JobRecord]]) -> list[Cost]:
    scale = scale_of(jobs)
    costs = []
    for job, known in zip(jobs, measured(jobs, records), strict=True):
        if job.local:
            costs.append(Cost(0.0, 0.0, "runs beside Snakemake", 0))
            continue
        stated = estimate(job, scale)
        if known is None:
            costs.append(Cost(stated.hours, stated.mb, stated.source, 0))
        else:
            costs.append(Cost(known.hours, known.mb or stated.mb, "measured in this folder", known.jobs))
    return costs


def _submissions(jobs: Sequence[PlannedJob], parents: Sequence[set[int]], costs: Sequence[Cost]) -> list[_Submission]:
    """All jobs as they are submitted; a job that is not submitted stands alone."""
    together: dict[object, list[int]] = {}
    for number, job in enumerate(jobs):
        together.setdefault(("alone", number) if job.group is None else job.group, []).append(number)
    return [_submission(jobs, parents, costs, numbers) for numbers in together.values()]


def _submission(
    jobs: Sequence[PlannedJob], parents: Sequence[set[int]], costs: Sequence[Cost], numbers: list[int]
) -> _Submission:
    depth: dict[int, int] = {}
    for number in numbers:
        depth[number] = 1 + max((depth[parent] for parent in parents[number] if parent in depth), default=-1)
    layers = [[number for number in numbers if depth[number] == level] for level in range(max(depth.values()) + 1)]
    return _Submission(
        numbers,
        hours=sum(max(costs[number].hours for number in layer) for layer in layers),
        held=_widest(
            [
                SubmissionRequest(*map(sum, zip(*(_request(jobs[number]) for number in layer), strict=True)))
                for layer in layers
            ]
        ),
    )


def _request(job: PlannedJob) -> SubmissionRequest:
    return SubmissionRequest(job.threads, int(job.resources.get("mem_mb", 0)) / MB_PER_GB, job.gpus)


def _widest(requests: Sequence[SubmissionRequest]) -> SubmissionRequest:
    """The most of each resource."""
    return SubmissionRequest(*map(max, zip(*requests, SubmissionRequest(0, 0.0, 0), strict=True)))


def _charges(jobs: Sequence[PlannedJob], costs: Sequence[Cost], submissions: Sequence[_Submission]) -> list[_Charge]:
    """What each submission holds, shared out by what its jobs use."""
    charges: dict[int, _Charge] = {}
    for entry, (numbers, hours, held) in enumerate(submissions):
        cores = sum(jobs[number].threads * costs[number].hours for number in numbers)
        gpus = sum(jobs[number].gpus * costs[number].hours for number in numbers)
        for number in numbers:
            job, cost = jobs[number], costs[number]
            core_hours = held.cores * hours * job.threads * cost.hours / cores if cores else 0.0
            gpu_hours = held.gpus * hours * job.gpus * cost.hours / gpus if gpus else 0.0
            charges[number] = _Charge(job, cost, entry, core_hours, gpu_hours)
    return [charges[number] for number in range(len(jobs))]


def _longest_chain(parents: Sequence[set[int]], submissions: Sequence[_Submission]) -> tuple[list[int], float]:
    """The submissions, by number, that follow each other for the longest time, and how long that is."""
    entry_of = {number: place for place, entry in enumerate(submissions) for number in entry.jobs}
    graph = {
        place: {entry_of[parent] for number in entry.jobs for parent in parents[number]} - {place}
        for place, entry in enumerate(submissions)
    }
    end: dict[int, float] = {}
    before: dict[int, int | None] = {}
    for place in TopologicalSorter(graph).static_order():
        last = max(graph[place], key=end.__getitem__) if graph[place] else None
        end[place] = submissions[place].hours + (0.0 if last is None else end[last])
        before[place] = last
    chain: list[int] = []
    last_of_all = max(end, key=end.__getitem__)
    step: int | None = last_of_all
    while step is not None:
        if submissions[step].hours:
            chain.append(step)
        step = before[step]
    return chain[::-1], end[last_of_all]


def _rows(charges: Sequence[_Charge]) -> list[RuleCost]:
    rules: dict[str, list[_Charge]] = {}
    for charge in charges:
        rules.setdefault(charge.job.rule, []).append(charge)
    return [
        RuleCost(
            rule,
            jobs=len(own),
            submissions=len({charge.submission for charge in own}),
            threads=max(charge.job.threads for charge in own),
            gpus=max(charge.job.gpus for charge in own),
            memory_gb=max(_request(charge.job).memory_gb for charge in own),
            hours_per_job=math.fsum(charge.cost.hours for charge in own) / len(own),
            longest_hours=max(charge.cost.hours for charge in own),
            limit_hours=max(limit_hours(charge.job) for charge in own),
            restarts=max(restarts(charge.job, charge.cost.hours) for charge in own),
            core_hours=math.fsum(charge.core_hours for charge in own),
            gpu_hours=math.fsum(charge.gpu_hours for charge in own),
            disk_gb=math.fsum(charge.cost.mb for charge in own) / MB_PER_GB,
            source=_source([charge.cost for charge in own]),
        )
        for rule, own in rules.items()
    ]


def _source(costs: Sequence[Cost]) -> str:
    """Where a rule's hours are from, as short as it can be told."""
    known = [cost for cost in costs if cost.jobs]
    if not known:
        return "; ".join(dict.fromkeys(cost.source for cost in costs))
    note = f"measured, n={max(cost.jobs for cost in known)}"
    return note if len(known) == len(costs) else f"{note}; {len(costs) - len(known)} jobs stated"
