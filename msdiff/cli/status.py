"""Tell how far the run in this folder is: what is done, running, waiting, failed and why.

Reads results/ and asks Snakemake and, where they are, Slurm's squeue and sacct. It changes nothing and may be called
while the run goes on. Snakemake's arguments are those of the run; `--profile slurm all` when left out.
"""

import argparse
import sys

from msdiff.cli.asked import add_snakemake_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_snakemake_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Print the page."""
    import time
    from pathlib import Path

    from msdiff.cluster.overview import overview
    from msdiff.cluster.progress import SUBMISSIONS, count_jobs, logged_submissions, survey
    from msdiff.cluster.slurm import accounted_jobs, queued_jobs
    from msdiff.cluster.workflow import ask_snakemake

    here = Path.cwd()
    counts = count_jobs(ask_snakemake(["--dryrun", "--dag", "dot"], arguments.arguments))
    folder = here / SUBMISSIONS
    # Whoever runs the workflow owns this folder; another may ask.
    queued = queued_jobs(here, folder.stat().st_uid) if folder.is_dir() else {}
    ended = accounted_jobs(here, set(logged_submissions(here)) - set(queued))
    sys.stdout.write("\n".join(overview(survey(here, counts, queued, ended), here, time.time())) + "\n")
