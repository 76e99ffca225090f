"""Write one memory-mapped array per contrast, mask and region map, and an index of pairs and slices."""

import argparse
import logging
from pathlib import Path

log = logging.getLogger(__name__)

FOLDERS = {
    "registered": "the patients' registered folders",
    "stripped": "the patients' brain masks",
    "normalised": "the patients' normalised folders",
    "parcellation": "the patients' regions",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--scans", required=True, type=Path, help="checked sheet with splits (TSV)")
    parser.add_argument("--pairs", required=True, type=Path, help="list of pairs (TSV)")
    for name, text in FOLDERS.items():
        parser.add_argument(f"--{name}", required=True, nargs="+", type=Path, metavar="DIR", help=f"parents of {text}")
    parser.add_argument("--contrasts", required=True, nargs="+", help="contrasts of the run")
    parser.add_argument("--out", required=True, type=Path, help="the stack's folder to write")
    parser.add_argument("--settings", required=True, help='JSON: {"min_change_volume_mm3": ...}')


def run(arguments: argparse.Namespace) -> None:
    """Stack the scans of all pairs."""
    from msdiff.lists import read_list
    from msdiff.settings import read
    from msdiff.stack.writing import PAIR_COLUMNS, SCAN_COLUMNS, Folders, StackSettings, write_stack

    settings = read(StackSettings, arguments.settings)
    scans, pairs = read_list(arguments.scans, SCAN_COLUMNS), read_list(arguments.pairs, PAIR_COLUMNS)
    log.info("stack %d scans, %d pairs, contrasts %s", len(scans), len(pairs), " ".join(arguments.contrasts))
    folders = Folders(*(getattr(arguments, name) for name in FOLDERS))
    write_stack(scans, pairs, folders, arguments.contrasts, settings, arguments.out)
