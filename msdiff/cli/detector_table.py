"""What the commands share that make a table of detectors' scores."""

import argparse
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msdiff import settings
from msdiff.tables.layout import TableSettings, write_table

if TYPE_CHECKING:
    import pandas as pd

    from msdiff.tables.detector_runs import Run

log = logging.getLogger(__name__)


def add_detector_table_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of such a command."""
    parser.add_argument("--cohort", required=True, help="name of the cohort, for the table's column")
    parser.add_argument(
        "--scores",
        type=Path,
        nargs="+",
        required=True,
        help="folders .../{generator}/{architecture}/{mix}/seed-{seed}/scores",
    )
    parser.add_argument("--out", type=Path, required=True, help="CSV to write")
    parser.add_argument("--settings", required=True, help="section tables of the config, as JSON")


def write_detector_table(
    arguments: argparse.Namespace, make: "Callable[[Sequence[Run], str, TableSettings], pd.DataFrame]"
) -> None:
    """Read the scores, make the table of the cohort, write it."""
    from msdiff.tables.detector_runs import read_run

    chosen = settings.read(TableSettings, arguments.settings, "tables")
    log.info("table of %d scored detectors", len(arguments.scores))
    table = make([read_run(folder) for folder in arguments.scores], arguments.cohort, chosen)
    write_table(table, arguments.out)
    log.info("wrote %s: %d rows", arguments.out, len(table))
