"""Pair every follow-up of a cohort with the patient's scan before it."""

import argparse
import logging
from pathlib import Path

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--scans", required=True, type=Path, help="checked sheet from check-sheet (TSV)")
    parser.add_argument("--out", required=True, type=Path, help="list of pairs to write (TSV)")
    parser.add_argument("--settings", required=True, help='JSON: {"minimum_days": ..., "maximum_days": ...}')


def run(arguments: argparse.Namespace) -> None:
    """Write the pairs."""
    from msdiff.cohort.pairs import PairSettings, pair_scans
    from msdiff.cohort.sheets import write_table
    from msdiff.lists import read_list
    from msdiff.settings import read

    settings = read(PairSettings, arguments.settings)
    columns = ["subject", "session", "days", "arm", "lesion_mask", "change_mask"]
    pairs = pair_scans(read_list(arguments.scans, columns), settings)
    write_table(pairs, arguments.out)
    log.info("wrote %s: %d pairs of %d patients", arguments.out, len(pairs), pairs["subject"].nunique())
