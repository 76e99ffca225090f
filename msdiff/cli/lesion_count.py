"""Write the table of forecast lesion counts by treatment arm, against the arm's average."""

import argparse
import logging

from msdiff import settings
from msdiff.cli.forecast_table import add_forecast_table_arguments, write_forecast_table
from msdiff.tables.layout import TableSettings

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_forecast_table_arguments(parser, ["test"])


def run(arguments: argparse.Namespace) -> None:
    """Read slabs and scores, write the table."""
    from msdiff.forecasting.slabs import load_slabs
    from msdiff.tables.forecasts import read_own_forecasts, training_patients
    from msdiff.tables.lesion_count import lesion_count_table

    chosen = settings.read(TableSettings, arguments.settings, "tables")
    slabs, test = load_slabs(arguments.slabs), read_own_forecasts(arguments.test)
    log.info("table of %d test patients", len(test))
    table = lesion_count_table(training_patients(slabs), test, slabs.arms, arguments.cohort, chosen)
    write_forecast_table(arguments, table)
