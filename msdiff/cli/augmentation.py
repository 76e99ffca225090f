"""Write the table of lesion detectors by the ratio of real to synthetic training slices."""

import argparse
import logging
from pathlib import Path

from msdiff import settings
from msdiff.tables.layout import TableSettings, write_table

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--cohort", required=True, help="name of the cohort, for the table's column")
    parser.add_argument(
        "--scores",
        type=Path,
        nargs="+",
        required=True,
        help="folders .../{generator}/{architecture}/{mix}/seed-{seed}/scores",
    )
    parser.add_argument(
        "--mixes",
        type=Path,
        nargs="+",
        required=True,
        help="lists of training slices .../{generator}/mixes/{mix}_seed-{seed}.tsv",
    )
    parser.add_argument("--out", type=Path, required=True, help="CSV to write")
    parser.add_argument("--settings", required=True, help="section tables of the config, as JSON")


def run(arguments: argparse.Namespace) -> None:
    """Read scores and mixes, write the table."""
    from msdiff.tables.augmentation import augmentation_table, read_mix
    from msdiff.tables.detector_runs import read_run

    chosen = settings.read(TableSettings, arguments.settings, "tables")
    logger.info("table of %d scored detectors", len(arguments.scores))
    runs = [read_run(folder) for folder in arguments.scores]
    mixes = dict(read_mix(path) for path in arguments.mixes)
    table = augmentation_table(runs, mixes, arguments.cohort, chosen)
    write_table(table, arguments.out)
    logger.info("wrote %s: %d rows", arguments.out, len(table))
