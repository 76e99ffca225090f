"""List the scans of a folder in a sheet, one row per scan.

Sources: phantom (the embedded cohort; its scans need not be drawn yet) and open_ms (the longitudinal MS data set of
the University of Ljubljana, in its published folders).
"""

import argparse
import logging
from pathlib import Path

from msdiff.errors import BadInput

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--source", required=True, choices=["phantom", "open_ms"], help="layout of the folder")
    parser.add_argument("--root", required=True, type=Path, help="folder that holds the scans")
    parser.add_argument("--out", required=True, type=Path, help="sheet to write (TSV)")
    parser.add_argument("--contrasts", nargs="+", help="phantom: contrasts to list; all it has, when left out")
    parser.add_argument("--settings", help="phantom: its settings as JSON")


def run(arguments: argparse.Namespace) -> None:
    """Write the sheet."""
    from msdiff.cohort.phantom_settings import PhantomSettings
    from msdiff.cohort.sheets import write_sheet
    from msdiff.cohort.sources import index_open_ms, index_phantom
    from msdiff.settings import read

    if arguments.source == "phantom":
        if arguments.settings is None:
            raise BadInput("--settings: expected the phantom's settings as JSON, got none")
        settings = read(PhantomSettings, arguments.settings, "phantom")
        contrasts = arguments.contrasts or list(settings.scanner.tissues)
        table = index_phantom(arguments.root, settings, contrasts)
    else:
        table = index_open_ms(arguments.root)
    write_sheet(table, arguments.out)
    logger.info("wrote %s: %d scans of %d patients", arguments.out, len(table), table["subject"].nunique())
