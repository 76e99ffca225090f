"""Hours and memory by rule, from the benchmark files that Snakemake writes.

A benchmark covers the attempt that finished: a training that stopped itself and went on counts its last attempt only.
"""

import ast
import csv
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from msdiff.errors import BadInput
from msdiff.tables import published
from msdiff.tables.layout import assemble

COLUMNS = ["rule", "jobs", "wall_hours", "gpu_hours", "max_rss_gb"]
SECONDS_PER_HOUR = 3600
MB_PER_GB = 1024


def compute_table(benchmarks: str | Path) -> pd.DataFrame:
    """One row per rule with a benchmark, and the paper's; jobs are added, memory is the largest of any job.

    `benchmarks` holds one folder, or one file, per rule. GPU hours are wall hours times the job's `gpu` resource, which
    Snakemake records in extended benchmarks; without that record they are missing. Raises BadInput where there is no
    benchmark, or one cannot be read.
    """
    rows: dict[str, list[dict[str, float]]] = {}
    for path in sorted(Path(benchmarks).glob("**/*.tsv")):
        # A rule without wildcards has one file, <rule>.tsv.
        rule = path.relative_to(benchmarks).parts[0].removesuffix(".tsv")
        rows.setdefault(rule, []).extend(_jobs(path))
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


def _jobs(path: Path) -> list[dict[str, float]]:
    """Hours, GPU hours and memory of each run that a benchmark file lists."""
    try:
        # Settings stand in extended benchmarks as they are, quotes included.
        frame = pd.read_csv(path, sep="\t", quoting=csv.QUOTE_NONE, na_values=["-", "NA"])
        seconds, rss_mb = frame["s"].astype(float), frame["max_rss"].astype(float)
    except (OSError, ValueError, KeyError) as error:
        raise BadInput(f"{path}: expected a benchmark file of Snakemake, cannot read it ({error})") from error
    gpus = frame["resources"].map(_gpus) if "resources" in frame else pd.Series(np.nan, index=frame.index)
    return [
        {"hours": s / SECONDS_PER_HOUR, "gpu_hours": s / SECONDS_PER_HOUR * gpu, "rss_gb": rss / MB_PER_GB}
        for s, rss, gpu in zip(seconds, rss_mb, gpus, strict=True)
    ]


def _gpus(resources: Any) -> float:
    """Number of GPUs in a job's resources, as Snakemake prints them; NaN where it printed none."""
    try:
        return float(ast.literal_eval(resources).get("gpu", 0))
    except (ValueError, SyntaxError, AttributeError):
        return np.nan


def _largest(values: list[float]) -> float:
    present = [value for value in values if not np.isnan(value)]
    return max(present, default=np.nan)
