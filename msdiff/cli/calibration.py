"""Write the table of forecast probabilities against what came true, by patient and by voxel."""

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
    parser.add_argument("--calibration", required=True, help="section forecasting.calibration of the config, as JSON")
    parser.add_argument("--settings", required=True, help="section tables of the config, as JSON")


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
    logger.info("table of %d test patients and %d of their voxels", len(test), voxels["voxels"].sum())
    table = calibration_table(
        training_patients(slabs), test, voxels, voxel_shares_of(slabs), arguments.cohort, calibration, chosen
    )
    write_table(table, arguments.out)
    logger.info("wrote %s: %d rows", arguments.out, len(table))
