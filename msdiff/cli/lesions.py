"""Write the list of all true and predicted lesions, with their volumes and what each rule of matching says."""

import argparse

from msdiff.cli.detector_table import add_detector_table_arguments, write_detector_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_detector_table_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Read the scores, write the table."""
    from msdiff.tables.lesion_sizes import lesions_table

    write_detector_table(arguments, lesions_table)
