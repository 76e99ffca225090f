"""Write the table of quality control: one row per scan."""

import argparse
import logging
from pathlib import Path

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--cohort", required=True, help="name of the cohort, for the table's column")
    parser.add_argument("--patients", type=Path, nargs="+", required=True, help="folders that check-quality wrote")
    parser.add_argument("--out", type=Path, required=True, help="CSV to write")


def run(arguments: argparse.Namespace) -> None:
    """Read the patients' measures, write the table."""
    from msdiff.tables.layout import write_table
    from msdiff.tables.quality import quality_table

    table = quality_table(arguments.patients, arguments.cohort)
    write_table(table, arguments.out)
    flagged = table[table["flag"].notna()]
    for scan in flagged.itertuples():
        log.warning("%s %s: %s", scan.subject, scan.session, scan.flag)
    log.info("wrote %s: %d scans, %d flagged", arguments.out, len(table), len(flagged))
