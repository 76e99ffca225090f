"""Write the table of forecast activity by treatment arm, against a baseline by population."""

import argparse
import logging

from msdiff import settings
from msdiff.cli.forecast_table import add_forecast_table_arguments, write_forecast_table
from msdiff.tables.layout import TableSettings

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_forecast_table_arguments(parser, ["test"], ["monte_carlo"])


def run(arguments: argparse.Namespace) -> None:
    """Read slabs and scores, write the table."""
    from msdiff.forecasting.judging import MonteCarloSettings
    from msdiff.forecasting.slabs import load_slabs
    from msdiff.tables.activity_prediction import activity_prediction_table
    from msdiff.tables.forecasts import read_own_forecasts, training_patients

    chosen = settings.read(TableSettings, arguments.settings, "tables")
    baseline = settings.read(MonteCarloSettings, arguments.monte_carlo, "forecasting.monte_carlo")
    slabs, test = load_slabs(arguments.slabs), read_own_forecasts(arguments.test)
    log.info("table of %d test patients, %d of them active", len(test), (test["true_active"] > 0).sum())
    table = activity_prediction_table(training_patients(slabs), test, slabs.arms, arguments.cohort, baseline, chosen)
    write_forecast_table(arguments, table)
