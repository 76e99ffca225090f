"""Write the table of hours and memory by rule, from Snakemake's benchmark files."""

import argparse
import logging
from pathlib import Path

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--benchmarks", type=Path, required=True, help="folder of benchmarks <rule>/**/*.tsv")
    parser.add_argument("--out", type=Path, required=True, help="CSV to write")


def run(arguments: argparse.Namespace) -> None:
    """Read the benchmarks, write the table."""
    from msdiff.tables.compute import compute_table
    from msdiff.tables.layout import write_table

    table = compute_table(arguments.benchmarks)
    write_table(table, arguments.out)
    log.info("wrote %s: %d rows", arguments.out, len(table))
