"""Write the table of paired tests: each mix with synthetic slices against real slices alone."""

import argparse

from msdiff.cli.detector_table import add_detector_table_arguments, write_detector_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_detector_table_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Read the scores, write the table."""
    from msdiff.tables.augmentation_tests import augmentation_tests_table

    write_detector_table(arguments, augmentation_tests_table)
