"""Write the table of the same patients forecast under every treatment arm."""

import argparse
import logging

from msdiff import settings
from msdiff.cli.forecast_table import add_forecast_table_arguments, write_forecast_table
from msdiff.tables.layout import TableSettings

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_forecast_table_arguments(parser, ["counterfactuals"])


def run(arguments: argparse.Namespace) -> None:
    """Read slabs and scores, write the table."""
    from msdiff.forecasting.slabs import load_slabs
    from msdiff.tables.counterfactuals import counterfactuals_table
    from msdiff.tables.forecasts import read_forecasts

    chosen = settings.read(TableSettings, arguments.settings, "tables")
    arms, forecasts = load_slabs(arguments.slabs).arms, read_forecasts(arguments.counterfactuals)
    log.info("table of %d patients under %d arms", forecasts["subject"].nunique(), forecasts["arm"].nunique())
    table = counterfactuals_table(forecasts, arms, arguments.cohort, chosen)
    write_forecast_table(arguments, table)
