"""The costs of a run as a page of text for the person who approves the run, and as a table."""

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from msdiff.cluster.costs import Plan, RuleCost
from msdiff.writing import whole_file

# Column of the page, and what stands in it.
COLUMNS: Mapping[str, Callable[[RuleCost], str]] = {
    "rule": lambda row: row.rule,
    "jobs": lambda row: str(row.jobs),
    "submitted": lambda row: str(row.submissions),
    "cores": lambda row: str(row.threads),
    "GPUs": lambda row: str(row.gpus or "-"),
    "GB": lambda row: f"{row.memory_gb:g}",
    "hours a job": lambda row: number(row.hours_per_job),
    "longest": lambda row: number(row.longest_hours),
    "limit": lambda row: number(row.limit_hours),
    "core-hours": lambda row: number(row.core_hours),
    "GPU-hours": lambda row: number(row.gpu_hours) if row.gpus else "-",
    "disk GB": lambda row: number(row.disk_gb),
}
SMALLEST = 0.001


def page(plan: Plan, gpus: int | None, free_gb: float) -> list[str]:
    """The lines: a table of rules, where its numbers are from, the sums, and what does not fit.

    gpus        how many may be had at a time, None where it is not known
    free_gb     space left where the results will be
    """
    rules, notes = _rules(plan.rows)
    largest = plan.largest
    used = ", ".join(f"{number(hours)} on {model}" for model, hours in plan.gpu_hours.items())
    sums = [
        f"submissions        {plan.submissions}, and {plan.local_jobs} short jobs beside Snakemake",
        f"core-hours         {number(plan.core_hours)}",
        f"GPU-hours          {number(sum(plan.gpu_hours.values()))}" + (f" ({used})" if used else ""),
        f"disk               {number(plan.disk_gb)} GB; {number(free_gb)} GB are free here",
        f"largest request    {largest.cores} cores, {largest.memory_gb:g} GB, {largest.gpus} GPUs",
        f"longest job        {number(plan.longest_hours)} h: {plan.longest}",
        f"shortest run       {number(plan.chain_hours)} h, with any number of nodes and no queue: "
        + ", then ".join(plan.chain),
    ]
    if gpus is not None:
        bound = max(plan.chain_hours, sum(plan.gpu_hours.values()) / gpus)
        sums.append(f"with {gpus} GPUs".ljust(19) + f"{number(bound)} h at least")
    faults = misfits(plan, gpus, free_gb)
    return [*rules, "", "Where the hours are from:", *notes, "", *sums, *([""] if faults else []), *faults]


def misfits(plan: Plan, gpus: int | None, free_gb: float) -> list[str]:
    """A line for everything that the time limits, the GPUs or the disk have no room for."""
    lines = []
    for row in plan.rows:
        about = f"{row.rule}: {number(row.longest_hours)} h are more than its limit of {number(row.limit_hours)} h; "
        if row.restarts:
            lines.append(about + f"it stops itself in time and goes on where it was, restarted {row.restarts} times")
        elif row.longest_hours > row.limit_hours:
            lines.append(about + "it would be ended there: raise its runtime (set-resources in the profile)")
    if gpus is not None and plan.largest.gpus > gpus:
        lines.append(f"one job asks for {plan.largest.gpus} GPUs, there are {gpus}: lower its gpu (set-resources)")
    if plan.disk_gb > free_gb:
        lines.append(f"disk: {number(plan.disk_gb)} GB are more than the {number(free_gb)} GB that are free")
    return [f"does not fit       {line}" for line in lines]


def write_table(rows: Sequence[RuleCost], path: str | Path) -> None:
    """Write the rules as CSV, one row each, in the units that the columns name."""
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(RuleCost._fields)
        writer.writerows(rows)


def number(value: float) -> str:
    """A number as it can be read at a glance: two digits, or all before the point."""
    if 0 < value < SMALLEST:
        return f"<{SMALLEST}"
    return f"{value:.0f}" if value == 0 or value >= 9.95 else f"{value:.2g}"


def _rules(rows: Sequence[RuleCost]) -> tuple[list[str], list[str]]:
    """The aligned table, with a letter for each way in which hours were had, and what the letters say."""
    letters: dict[str, str] = {}
    for row in rows:
        letters.setdefault(row.source, f"[{len(letters) + 1}]")
    cells = [[*COLUMNS, "from"], *([*(show(row) for show in COLUMNS.values()), letters[row.source]] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join([first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))])
        for first, *rest in cells
    ]
    return lines, [f"{letter:>5} {source}" for source, letter in letters.items()]
