"""Write one memory-mapped array per contrast, mask and region map, and an index of pairs and slices."""

import argparse
import logging
from pathlib import Path

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--scans", required=True, type=Path, help="checked sheet with splits (TSV)")
    parser.add_argument("--pairs", required=True, type=Path, help="list of pairs (TSV)")
    parser.add_argument("--registered", required=True, type=Path, help="parent of the patients' registered folders")
    parser.add_argument("--stripped", required=True, type=Path, help="parent of the patients' brain masks")
    parser.add_argument("--normalised", required=True, type=Path, help="parent of the patients' normalised folders")
    parser.add_argument("--parcellation", required=True, nargs="+", type=Path, help="parents of the patients' regions")
    parser.add_argument("--contrasts", required=True, nargs="+", help="contrasts of the run")
    parser.add_argument("--out", required=True, type=Path, help="the stack's folder to write")
    parser.add_argument("--settings", required=True, help='JSON: {"min_change_volume_mm3": ...}')


def run(arguments: argparse.Namespace) -> None:
    """Stack the scans of all pairs."""
    from msdiff.cohort.stacking import PAIR_COLUMNS, SCAN_COLUMNS, Folders, StackSettings, read_list, write_stack
    from msdiff.settings import read

    settings = read(StackSettings, arguments.settings)
    scans, pairs = read_list(arguments.scans, SCAN_COLUMNS), read_list(arguments.pairs, PAIR_COLUMNS)
    logger.info("stack %d scans, %d pairs, contrasts %s", len(scans), len(pairs), " ".join(arguments.contrasts))
    folders = Folders(arguments.registered, arguments.stripped, arguments.normalised, arguments.parcellation)
    write_stack(scans, pairs, folders, arguments.contrasts, settings, arguments.out)
