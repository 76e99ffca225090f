"""Sentences on what a run cost."""

import numpy as np
import pandas as pd

from msdiff.report.phrases import count, number
from msdiff.report.run import Run
from msdiff.report.words import write


def about_compute(run: Run) -> str:
    """Where the time went."""
    ours = run.ours("compute")
    slowest, hours, jobs = ours.loc[ours["wall_hours"].idxmax()], ours["wall_hours"].sum(), int(ours["jobs"].sum())
    share = round(100 * slowest["wall_hours"] / hours) if hours else 0
    return (
        f"{count(jobs, 'job')} took {duration(hours)} in all, {share} % of it in {write(slowest['rule'])}. "
        "Hours on another machine, and at another size of network and cohort, cannot be compared with the paper's."
    )


def duration(hours: float) -> str:
    """Hours, or minutes where they are few."""
    return f"{hours:.1f} hours" if hours >= 1 else f"{60 * hours:.1f} minutes"


def compute_facts(run: Run) -> dict[str, str]:
    """Hours over all jobs."""
    compute = run.ours("compute")
    if compute.empty:
        return {}
    hours, gpu_hours = compute["wall_hours"].sum(), compute["gpu_hours"].sum(skipna=False)
    gpu = "GPU hours not recorded" if pd.isna(gpu_hours) else f"{gpu_hours:.3g} GPU hours"
    return {"Hours": f"{hours:.3g} summed over {count(compute['jobs'].sum(), 'job')}, {gpu}"}


def about_training(run: Run, rule: str, what: str) -> str:
    """What the trainings of a rule took; empty where the table does not hold it."""
    compute = run.ours("compute")
    rows = compute[compute["rule"] == rule] if len(compute) else compute
    return " ".join(_about_training(row, what) for _, row in rows.iterrows())


def _about_training(row: pd.Series, what: str) -> str:
    gpus = "GPU hours not recorded" if np.isnan(row["gpu_hours"]) else f"{number(row['gpu_hours'])} GPU hours"
    return (
        f"Trainings of {what}: {duration(row['wall_hours'])} over {count(row['jobs'], 'job')}, {gpus}, at most "
        f"{number(row['max_rss_gb'])} GiB of memory."
    )
