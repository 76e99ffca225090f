"""Write the table of regions in which new lesions are forecast, against a baseline by population."""

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
        "--validation", type=Path, required=True, help="scores of the validation patients, from score-forecasts"
    )
    parser.add_argument("--test", type=Path, required=True, help="scores of the test patients, from score-forecasts")
    parser.add_argument("--out", type=Path, required=True, help="CSV to write")
    parser.add_argument("--regional", required=True, help="section forecasting.regional of the config, as JSON")
    parser.add_argument("--monte-carlo", required=True, help="section forecasting.monte_carlo of the config, as JSON")
    parser.add_argument("--settings", required=True, help="section tables of the config, as JSON")


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
    logger.info("table of %d test patients, threshold by %d of validation", len(test), len(validation))
    table = regional_accuracy_table(training, validation, test, arguments.cohort, regional, baseline, chosen)
    write_table(table, arguments.out)
    logger.info("wrote %s: %d rows", arguments.out, len(table))
