"""Write the table of new lesions and activity by treatment arm."""

import argparse
import logging
from pathlib import Path

from msdiff import settings
from msdiff.tables.layout import TableSettings, write_table

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--cohort", required=True, help="name of the cohort, for the table's column")
    parser.add_argument("--stack", type=Path, required=True, help="the cohort's stack of scans")
    parser.add_argument("--out", type=Path, required=True, help="CSV to write")
    parser.add_argument("--settings", required=True, help="section tables of the config, as JSON")


def run(arguments: argparse.Namespace) -> None:
    """Read the stack's index of slices, write the table."""
    from msdiff.cohort.stacks import load_stack
    from msdiff.tables.cohort import cohort_table

    chosen = settings.read(TableSettings, arguments.settings, "tables")
    stack = load_stack(arguments.stack)
    logger.info("table of %d patients", stack.slices["subject"].nunique())
    table = cohort_table(stack.slices, arguments.cohort, chosen)
    write_table(table, arguments.out)
    logger.info("wrote %s: %d rows", arguments.out, len(table))
