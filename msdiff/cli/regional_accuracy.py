"""Write the table of regions in which new lesions are forecast, against a baseline by population."""

import argparse
import logging

from msdiff import settings
from msdiff.cli.forecast_table import add_forecast_table_arguments, write_forecast_table
from msdiff.tables.layout import TableSettings

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_forecast_table_arguments(parser, ["validation", "test"], ["regional", "monte_carlo"])


def run(arguments: argparse.Namespace) -> None:
    """Read slabs and scores, write the table."""
    from msdiff.forecasting.judging import MonteCarloSettings, RegionalSettings
    from msdiff.forecasting.slabs import load_slabs
    from msdiff.tables.forecasts import read_own_forecasts, training_patients
    from msdiff.tables.regional_accuracy import regional_accuracy_table

    chosen = settings.read(TableSettings, arguments.settings, "tables")
    regional = settings.read(RegionalSettings, arguments.regional, "forecasting.regional")
    baseline = settings.read(MonteCarloSettings, arguments.monte_carlo, "forecasting.monte_carlo")
    training = training_patients(load_slabs(arguments.slabs))
    validation, test = (read_own_forecasts(scores) for scores in (arguments.validation, arguments.test))
    log.info("table of %d test patients, threshold by %d of validation", len(test), len(validation))
    table = regional_accuracy_table(training, validation, test, arguments.cohort, regional, baseline, chosen)
    write_forecast_table(arguments, table)
