"""Write the table of how like training follow-ups of other patients the synthetic ones are, by measure."""

import argparse
import logging
from pathlib import Path

from msdiff import settings
from msdiff.errors import BadInput
from msdiff.tables.layout import TableSettings, write_table

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--cohort", required=True, help="name of the cohort, for the table's column")
    parser.add_argument("--generators", nargs="+", required=True, help="names, in the order of the files")
    parser.add_argument("--nearest", type=Path, nargs="+", required=True, help="lists from find-nearest")
    parser.add_argument("--leakage", type=Path, nargs="+", required=True, help="records from check-leakage")
    parser.add_argument("--out", type=Path, required=True, help="CSV to write")
    parser.add_argument("--thresholds", required=True, help="section privacy.nearest of the config, as JSON")
    parser.add_argument("--settings", required=True, help="section tables of the config, as JSON")


def run(arguments: argparse.Namespace) -> None:
    """Read lists and records, write the table."""
    from msdiff.privacy.thresholds import NearestSettings
    from msdiff.tables.privacy import privacy_table, read_leakage, read_nearest

    chosen = settings.read(TableSettings, arguments.settings, "tables")
    percentile = settings.read(NearestSettings, arguments.thresholds, "privacy.nearest").percentile
    if not len(arguments.generators) == len(arguments.nearest) == len(arguments.leakage):
        raise BadInput("expected one list and one record for each generator, got other numbers of them")
    lists = [
        (generator, read_nearest(nearest), read_leakage(leakage))
        for generator, nearest, leakage in zip(arguments.generators, arguments.nearest, arguments.leakage, strict=True)
    ]
    table = privacy_table(lists, arguments.cohort, percentile, chosen)
    write_table(table, arguments.out)
    log.info("wrote %s: %d rows", arguments.out, len(table))
