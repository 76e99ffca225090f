"""Write the datasheet of the run's synthetic follow-ups."""

import argparse
import logging

from msdiff.cli import cards

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    cards.add_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Read the run's record, write the card."""
    from msdiff.report.cards import datasheet
    from msdiff.writing import whole_file

    text = datasheet(cards.read_record(arguments))
    with whole_file(arguments.out) as temporary:
        temporary.write_text(text, encoding="utf-8")
    log.info("wrote %s", arguments.out)
