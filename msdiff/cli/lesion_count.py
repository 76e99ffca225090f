"""Write the table of forecast lesion counts by treatment arm, against the arm's average."""

import argparse
import logging
from pathlib import Path

from msdiff import settings
from msdiff.tables.layout import TableSettings, write_table

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--cohort", required=True, help="name of the cohort, for the table's column")
    parser.add_argument("--slabs", type=Path, required=True, help="the cohort's slabs, from cut-slabs")
    parser.add_argument("--test", type=Path, required=True, help="scores of the test patients, from score-forecasts")
    parser.add_argument("--out", type=Path, required=True, help="CSV to write")
    parser.add_argument("--settings", required=True, help="section tables of the config, as JSON")


def run(arguments: argparse.Namespace) -> None:
    """Read slabs and scores, write the table."""
    from msdiff.forecasting.slabs import load_slabs
    from msdiff.tables.forecasts import read_own_forecasts, training_patients
    from msdiff.tables.lesion_count import lesion_count_table

    chosen = settings.read(TableSettings, arguments.settings, "tables")
    slabs, test = load_slabs(arguments.slabs), read_own_forecasts(arguments.test)
    logger.info("table of %d test patients", len(test))
    table = lesion_count_table(training_patients(slabs), test, slabs.arms, arguments.cohort, chosen)
    write_table(table, arguments.out)
    logger.info("wrote %s: %d rows", arguments.out, len(table))
