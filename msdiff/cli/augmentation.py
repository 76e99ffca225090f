"""Write the table of lesion detectors by the ratio of real to synthetic training slices."""

import argparse
from pathlib import Path

from msdiff.cli.detector_table import add_detector_table_arguments, write_detector_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_detector_table_arguments(parser)
    parser.add_argument(
        "--mixes",
        type=Path,
        nargs="+",
        required=True,
        help="lists of training slices .../{generator}/mixes/{mix}_seed-{seed}.tsv",
    )


def run(arguments: argparse.Namespace) -> None:
    """Read scores and mixes, write the table."""
    from msdiff.tables.augmentation import augmentation_table, read_mix

    mixes = dict(read_mix(path) for path in arguments.mixes)
    write_detector_table(arguments, lambda runs, cohort, chosen: augmentation_table(runs, mixes, cohort, chosen))
