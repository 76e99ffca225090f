"""Ask a Slurm cluster what it offers.

`cluster propose` writes profiles/slurm/partitions.yaml, then plans a run with it and tells what fits no partition.
Snakemake's arguments are those that the run will be started with; `--profile slurm all` when left out.
"""

import argparse
import logging
from pathlib import Path

from msdiff.cli.asked import add_snakemake_arguments

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    commands = parser.add_subparsers(dest="command", required=True, metavar="propose")
    propose = commands.add_parser("propose", help="write profiles/slurm/partitions.yaml from what Slurm says")
    propose.add_argument(
        "--out", type=Path, default=Path("profiles/slurm/partitions.yaml"), help="file to write (%(default)s)"
    )
    propose.add_argument("--force", action="store_true", help="write over a file that somebody edited")
    add_snakemake_arguments(propose)


def run(arguments: argparse.Namespace) -> None:
    """Write the proposal, then plan a run with it."""
    from msdiff.cluster.dry_run import dry_run, read_jobs
    from msdiff.cluster.partitions import ask, edited, file_text, misfits, propose, requests
    from msdiff.errors import BadInput
    from msdiff.writing import whole_file

    if not arguments.out.parent.is_dir():
        raise BadInput(f"{arguments.out}: no such folder; run this in the workflow's folder, or say --out FILE")
    if arguments.out.exists() and edited(arguments.out.read_text()) and not arguments.force:
        raise BadInput(f"{arguments.out}: somebody edited it; write elsewhere (--out FILE), or over it with --force")
    entries = propose(ask())
    with whole_file(arguments.out) as temporary:
        temporary.write_text(file_text(entries))
    for entry in entries:
        log.info("%s: %s", entry.name, f"left out, {entry.left_out}" if entry.left_out else "proposed")
    log.info("wrote %s; planning a run with it", arguments.out)
    unfit = misfits(requests(read_jobs(dry_run(arguments.arguments))), entries)
    for line in unfit:
        log.warning("%s", line)
    if not unfit:
        log.info("all that the workflow asks for fits")
