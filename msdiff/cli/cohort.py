"""Write the table of new lesions and activity by treatment arm."""

import argparse
import logging
from pathlib import Path

from msdiff import settings
from msdiff.tables.layout import TableSettings, keys_of, write_table

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "--stack", type=Path, nargs="+", required=True, help="stacks of scans .../{cohort}/stack, one per cohort"
    )
    parser.add_argument("--out", type=Path, required=True, help="CSV to write")
    parser.add_argument("--settings", required=True, help="section tables of the config, as JSON")


def run(arguments: argparse.Namespace) -> None:
    """Read the stacks' index of slices, write the table."""
    from msdiff.cohort.stacks import load_stack
    from msdiff.tables.cohort import cohort_table

    chosen = settings.read(TableSettings, arguments.settings, "tables")
    logger.info("table of %d cohorts", len(arguments.stack))
    slices = {keys_of(folder, "stack")["cohort"]: load_stack(folder).slices for folder in arguments.stack}
    table = cohort_table(slices, chosen)
    write_table(table, arguments.out)
    logger.info("wrote %s: %d rows", arguments.out, len(table))
