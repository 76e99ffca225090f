"""The option `--stack` of the commands that read a stack's slices and a fold, and `--slabs` of those of forecasts."""

import argparse
from pathlib import Path


def add_stack(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """Declare `--stack`: the three files that `load_stack` takes."""
    parser.add_argument(
        "--stack",
        type=Path,
        nargs=3,
        required=required,
        metavar=("STACK", "SLICES", "FOLD"),
        help="the cohort's stack of scans, its index of slices from index-slices, and a fold from assign-fold",
    )


def add_slabs(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """Declare `--slabs`: the two files that `load_slabs` takes."""
    parser.add_argument(
        "--slabs",
        type=Path,
        nargs=2,
        required=required,
        metavar=("SLABS", "FOLD"),
        help="the cohort's slabs from cut-slabs, and a fold from assign-fold",
    )
