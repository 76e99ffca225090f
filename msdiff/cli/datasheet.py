"""Write the datasheet of the run's synthetic follow-ups."""

import argparse

from msdiff.cli.cards import add_arguments, write_card

__all__ = ["add_arguments", "run"]


def run(arguments: argparse.Namespace) -> None:
    """Read the run's record, write the card."""
    from msdiff.report.cards import datasheet

    write_card(datasheet, arguments)
