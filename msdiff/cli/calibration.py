"""Write the table of forecast probabilities against what came true, by patient and by voxel."""

import argparse
import logging

from msdiff import settings
from msdiff.cli.forecast_table import add_forecast_table_arguments, write_forecast_table
from msdiff.tables.layout import TableSettings

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_forecast_table_arguments(parser, ["test"], ["calibration"])


def run(arguments: argparse.Namespace) -> None:
    """Read slabs and scores, write the table."""
    from msdiff.forecasting.judging import CalibrationSettings
    from msdiff.forecasting.slabs import load_slabs
    from msdiff.tables.calibration import calibration_table, voxel_shares_of
    from msdiff.tables.forecasts import read_own_forecasts, read_voxels, training_patients

    chosen = settings.read(TableSettings, arguments.settings, "tables")
    calibration = settings.read(CalibrationSettings, arguments.calibration, "forecasting.calibration")
    slabs, test = load_slabs(arguments.slabs), read_own_forecasts(arguments.test)
    voxels = read_voxels(arguments.test)
    log.info("table of %d test patients and %d of their voxels", len(test), voxels["voxels"].sum())
    table = calibration_table(
        training_patients(slabs), test, voxels, voxel_shares_of(slabs), arguments.cohort, calibration, chosen
    )
    write_forecast_table(arguments, table)
