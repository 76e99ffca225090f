"""Cut the middle slices of three sessions of every patient, scaled and ready for a network, for forecasts."""

import argparse
import logging
from pathlib import Path

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--stack", required=True, type=Path, help="the cohort's stack")
    parser.add_argument("--out", required=True, type=Path, help="the slabs' folder to write")
    parser.add_argument("--settings", required=True, help='JSON: {"slabs": ..., "arms": [...], "readout": ...}')


def run(arguments: argparse.Namespace) -> None:
    """Write the slabs."""
    from msdiff.forecasting.slabs import CutSettings, write_slabs
    from msdiff.settings import read
    from msdiff.stack.reading import load_stack

    settings = read(CutSettings, arguments.settings)
    stack = load_stack(arguments.stack)
    slabs = settings.slabs
    log.info("cut %d slices of %s at %s", slabs.slices, ", ".join(slabs.images), ", ".join(slabs.sessions))
    write_slabs(stack, settings, arguments.out)
