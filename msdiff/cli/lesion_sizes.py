"""Write the table of lesions found and of false positives by their volume."""

import argparse

from msdiff.cli.detector_table import add_detector_table_arguments, write_detector_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_detector_table_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Read the scores, write the table."""
    from msdiff.tables.lesion_sizes import lesion_sizes_table

    write_detector_table(arguments, lesion_sizes_table)
