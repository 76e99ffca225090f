"""Write the table of new lesions and activity by treatment arm."""

import argparse
import logging
from pathlib import Path

from msdiff import settings
from msdiff.errors import BadInput
from msdiff.tables.layout import TableSettings, write_table

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--cohort", nargs="+", required=True, help="names of the cohorts, for the table's column")
    parser.add_argument("--stack", type=Path, nargs="+", required=True, help="their stacks of scans, in the same order")
    parser.add_argument("--out", type=Path, required=True, help="CSV to write")
    parser.add_argument("--settings", required=True, help="section tables of the config, as JSON")


def run(arguments: argparse.Namespace) -> None:
    """Read the stacks' indices of slices, write the table."""
    from msdiff.stack.reading import load_stack
    from msdiff.tables.cohort import cohort_table

    chosen = settings.read(TableSettings, arguments.settings, "tables")
    if len(arguments.cohort) != len(arguments.stack):
        raise BadInput(f"expected a stack for each of the cohorts {', '.join(arguments.cohort)}, got another number")
    slices = {name: load_stack(stack).slices for name, stack in zip(arguments.cohort, arguments.stack, strict=True)}
    for name, index in slices.items():
        log.info("%s: %d patients", name, index["subject"].nunique())
    table = cohort_table(slices, chosen)
    write_table(table, arguments.out)
    log.info("wrote %s: %d rows", arguments.out, len(table))
