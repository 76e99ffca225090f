"""Write one table of the results, by its name: see msdiff.tables."""

import argparse
import logging
from pathlib import Path

from msdiff.errors import BadSettings

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("name", help="table to write, a module of msdiff/tables")
    parser.add_argument(
        "--input",
        dest="inputs",
        nargs="+",
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="an input of the table, and its paths, or names such as that of the cohort; once for each input",
    )
    parser.add_argument("--out", type=Path, required=True, help="CSV to write")
    parser.add_argument("--settings", required=True, help='sections of the config, as JSON: {"tables": {...}}')


def run(arguments: argparse.Namespace) -> None:
    """Read the inputs, write the table."""
    import json

    from msdiff.tables.layout import write_table
    from msdiff.tables.registry import make

    try:
        sections = dict(json.loads(arguments.settings))
    except (ValueError, TypeError) as error:
        raise BadSettings(f"--settings: expected sections as JSON, got {arguments.settings[:60]!r}") from error
    table = make(arguments.name, {name: values for name, *values in arguments.inputs}, sections)
    write_table(table, arguments.out)
    log.info("wrote %s: %d rows", arguments.out, len(table))
