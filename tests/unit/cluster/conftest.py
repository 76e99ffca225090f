"""Jobs of a made-up run."""

import json

import pytest

from msdiff.cluster.dry_run import PlannedJob


@pytest.fixture
def job():
    """A function for a job of a rule, with what a test is about and nothing else."""

    def make(rule, inputs=(), outputs=(), settings=None, resources=None, options=None, **fields):
        told = {} if settings is None else {"settings": (json.dumps(settings),)}
        defaults = {"benchmark": f"results/benchmarks/{rule}.tsv", "wildcards": {}, "threads": 1, "group": None}
        return PlannedJob(
            rule,
            inputs=tuple(inputs),
            outputs=tuple(outputs),
            resources={"runtime": "60", "mem_mb": "4000"} | (resources or {}),
            options=told | (options or {}),
            **(defaults | fields),
        )

    return make
