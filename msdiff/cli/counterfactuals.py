"""Write the table of the same patients forecast under every treatment arm."""

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
    parser.add_argument(
        "--counterfactuals", type=Path, required=True, help="scores of patients under all arms, from score-forecasts"
    )
    parser.add_argument("--out", type=Path, required=True, help="CSV to write")
    parser.add_argument("--settings", required=True, help="section tables of the config, as JSON")


def run(arguments: argparse.Namespace) -> None:
    """Read slabs and scores, write the table."""
    from msdiff.forecasting.slabs import load_slabs
    from msdiff.tables.counterfactuals import counterfactuals_table
    from msdiff.tables.forecasts import read_forecasts

    chosen = settings.read(TableSettings, arguments.settings, "tables")
    arms, forecasts = load_slabs(arguments.slabs).arms, read_forecasts(arguments.counterfactuals)
    logger.info("table of %d patients under %d arms", forecasts["subject"].nunique(), forecasts["arm"].nunique())
    table = counterfactuals_table(forecasts, arms, arguments.cohort, chosen)
    write_table(table, arguments.out)
    logger.info("wrote %s: %d rows", arguments.out, len(table))
