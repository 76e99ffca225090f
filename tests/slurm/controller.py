"""Snakemake's own command line, which asks Slurm every second how its jobs are.

The Slurm plugin asks ever more seldom, at most every three minutes, and no option changes that: kind to a cluster's
scheduler, and most of a test's time. Nothing else is changed, and the jobs run `snakemake` itself.
"""

import asyncio

from snakemake.cli import main
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor


async def sleep(_: RemoteExecutor) -> None:
    """The pause between two questions."""
    await asyncio.sleep(1.0)


if __name__ == "__main__":
    RemoteExecutor.sleep = sleep
    main()
