"""Tell what a run will cost before it starts: jobs, hours of cores and GPUs, disk, the longest job.

Asks Snakemake for a dry-run and changes nothing. Hours are those of jobs with the same settings that ran in this
folder, or else stated, and the page says which. Snakemake's arguments are those that the run will be started with;
`--profile slurm all` when left out.
"""

import argparse
import logging
import sys
from pathlib import Path

from msdiff.cli.asked import add_snakemake_arguments

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--gpus", type=int, help="GPUs that the run may have at a time: how long it will take at least")
    parser.add_argument("--benchmarks", type=Path, default=Path("results/benchmarks"), help="what jobs took before")
    parser.add_argument("--out", type=Path, help="CSV of the rules to write")
    add_snakemake_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Print the page, and write the table where asked to."""
    import shutil

    from msdiff.cluster.cost_page import page, write_table
    from msdiff.cluster.costs import plan_run
    from msdiff.cluster.dry_run import dry_run, read_jobs
    from msdiff.cluster.records import read_records
    from msdiff.errors import BadInput

    if arguments.gpus is not None and arguments.gpus < 1:
        raise BadInput(f"--gpus: expected a number of at least 1, got {arguments.gpus}")
    jobs = read_jobs(dry_run(arguments.arguments))
    if not jobs:
        sys.stdout.write("Nothing to do: all that was asked for is there and up to date.\n")
        return
    plan = plan_run(jobs, read_records(arguments.benchmarks))
    free_gb = shutil.disk_usage(Path.cwd()).free / 1e9
    sys.stdout.write("\n".join(page(plan, arguments.gpus, free_gb)) + "\n")
    if arguments.out is not None:
        write_table(plan.rows, arguments.out)
        log.info("wrote %s: %d rules", arguments.out, len(plan.rows))
