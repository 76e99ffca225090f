"""Write one memory-mapped array per contrast, mask and region map."""

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
    parser.add_argument("--scans", required=True, type=Path, help="checked sheet from check-sheet (TSV)")
    for name, text in FOLDERS.items():
        parser.add_argument(f"--{name}", required=True, nargs="+", type=Path, metavar="DIR", help=f"parents of {text}")
    parser.add_argument("--contrasts", required=True, nargs="+", help="contrasts of the run")
    parser.add_argument("--out", required=True, type=Path, help="the stack's folder to write")
    parser.add_argument("--settings", required=True, help='JSON: {"min_change_volume_mm3": ...}')


def run(arguments: argparse.Namespace) -> None:
    """Stack all scans."""
    from msdiff.lists import read_list
    from msdiff.settings import read
    from msdiff.stack.writing import SCAN_COLUMNS, Folders, StackSettings, write_stack

    settings = read(StackSettings, arguments.settings)
    scans = read_list(arguments.scans, SCAN_COLUMNS)
    log.info("stack %d scans, contrasts %s", len(scans), " ".join(arguments.contrasts))
    folders = Folders(*(getattr(arguments, name) for name in FOLDERS))
    write_stack(scans, folders, arguments.contrasts, settings, arguments.out)
