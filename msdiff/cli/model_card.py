"""Write the model card of the run's generators, under the headings of MI-CLAIM-GEN."""

import argparse

from msdiff.cli.cards import add_arguments, write_card

__all__ = ["add_arguments", "run"]


def run(arguments: argparse.Namespace) -> None:
    """Read the run's record, write the card."""
    from msdiff.report.cards import model_card

    write_card(model_card, arguments)
