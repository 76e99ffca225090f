"""The log of every command: lines on stderr, which its rule sends to a file."""

import logging
import sys


def log_to_stderr() -> None:
    """Show what is logged, with the time of day and who says it."""
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(name)s: %(message)s",
        datefmt="%H:%M:%S",
    )
