"""Check a scan sheet, and write the list of scans that a cohort's other steps read."""

import argparse
import logging
from pathlib import Path

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--sheet", required=True, type=Path, help="scan sheet (TSV)")
    parser.add_argument("--contrasts", required=True, nargs="+", help="contrasts of the run; the first must be there")
    parser.add_argument("--out", required=True, type=Path, help="checked sheet to write (TSV)")


def run(arguments: argparse.Namespace) -> None:
    """Write the checked sheet."""
    from msdiff.cohort.sheets import read_sheet, write_sheet

    # Who trains and who tests is said by folds alone.
    scans = read_sheet(arguments.sheet, arguments.contrasts).drop(columns="split")
    write_sheet(scans, arguments.out)
    log.info("wrote %s: %d scans of %d patients", arguments.out, len(scans), scans["subject"].nunique())
