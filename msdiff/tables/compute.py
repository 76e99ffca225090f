"""Hours and memory by rule, from the benchmark files that Snakemake writes.

A benchmark covers the attempt that finished: a training that stopped itself and went on counts its last attempt only.
"""

import ast
from pathlib import Path

import numpy as np
import pandas as pd

from msdiff.benchmarks import read_benchmarks, rule_of
from msdiff.errors import BadInput
from msdiff.tables import published
from msdiff.tables.layout import assemble
from msdiff.tables.registry import Table, one

COLUMNS = ["rule", "jobs", "wall_hours", "gpu_hours", "max_rss_gb"]
ABLATION = "ablation"
SECONDS_PER_HOUR = 3600
MB_PER_GB = 1024


def compute_table(benchmarks: str | Path) -> pd.DataFrame:
    """One row per rule with a benchmark, and the paper's; jobs are added, memory is the largest of any job.

    What a rule did for the ablation's small networks is a row of its own: the paper's training is no sum with these.
    `benchmarks` holds one folder, or one file, per rule. GPU hours are wall hours times the job's `gpu` resource, which
    Snakemake records in extended benchmarks; without that record they are missing. Raises BadInput where there is no
    benchmark, or one cannot be read.
    """
    rows = read_benchmarks(benchmarks, _job, _row_name)
    if not rows:
        raise BadInput(f"{benchmarks}: expected benchmark files <rule>/**.tsv, got none; run the workflow first")
    ours = [
        {
            "rule": rule,
            "jobs": len(jobs),
            "wall_hours": sum(job["hours"] for job in jobs),
            # One job without a record makes the rule's sum unknown.
            "gpu_hours": float(np.sum([job["gpu_hours"] for job in jobs])),
            "max_rss_gb": _largest([job["rss_gb"] for job in jobs]),
        }
        for rule, jobs in sorted(rows.items())
    ]
    return assemble(ours, published.COMPUTE, COLUMNS)


def _row_name(path: Path) -> str:
    """The rule, and that it worked for the ablation where a file lies in a folder of that name."""
    rule = rule_of(path)
    return f"{rule} ({ABLATION})" if ABLATION in path.parts[1:] and ABLATION not in rule else rule


def _job(row: dict[str, str]) -> dict[str, float]:
    """Hours, GPU hours and memory of one run."""
    hours = _number(row["s"]) / SECONDS_PER_HOUR
    return {
        "hours": hours,
        "gpu_hours": hours * _gpus(row.get("resources")),
        "rss_gb": _number(row["max_rss"]) / MB_PER_GB,
    }


def _number(text: str) -> float:
    """A measure; NaN where Snakemake took none."""
    return np.nan if text in ("-", "NA") else float(text)


def _gpus(resources: str | None) -> float:
    """Number of GPUs in a job's resources, as Snakemake prints them; NaN where it printed none."""
    try:
        return float(ast.literal_eval(resources or "").get("gpu", 0))
    except (ValueError, SyntaxError, AttributeError):
        return np.nan


def _largest(values: list[float]) -> float:
    present = [value for value in values if not np.isnan(value)]
    return max(present, default=np.nan)


TABLE = Table(title="Hours and memory by rule", make=compute_table, inputs={"benchmarks": one(Path)})
