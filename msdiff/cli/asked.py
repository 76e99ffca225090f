"""What the commands share that ask Snakemake about a run: its own arguments, as the run is or will be started."""

import argparse

# Where none are given.
DEFAULT = ["--profile", "slurm", "all"]


def add_snakemake_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `arguments`, a list."""
    parser.add_argument(
        "arguments",
        nargs="*",
        default=DEFAULT,
        metavar="-- SNAKEMAKE ARGUMENTS",
        help=f"as the run is started; without any, {' '.join(DEFAULT)}",
    )
