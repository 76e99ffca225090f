"""What the commands share that make a table of forecasts."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msdiff.tables.layout import write_table

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

# By purpose: whose scores a table may read.
SCORES = {
    "validation": "scores of the validation patients, from score-forecasts",
    "test": "scores of the test patients, from score-forecasts",
    "counterfactuals": "scores of patients under all arms, from score-forecasts",
}


def add_forecast_table_arguments(
    parser: argparse.ArgumentParser, purposes: Sequence[str], sections: Sequence[str] = ()
) -> None:
    """Declare the options of such a command: scores of these purposes, and sections of `forecasting` in the config."""
    parser.add_argument("--cohort", required=True, help="name of the cohort, for the table's column")
    parser.add_argument("--slabs", type=Path, required=True, help="the cohort's slabs, from cut-slabs")
    for purpose in purposes:
        parser.add_argument(f"--{purpose}", type=Path, required=True, help=SCORES[purpose])
    parser.add_argument("--out", type=Path, required=True, help="CSV to write")
    for section in sections:
        option = f"--{section.replace('_', '-')}"
        parser.add_argument(option, required=True, help=f"section forecasting.{section} of the config, as JSON")
    parser.add_argument("--settings", required=True, help="section tables of the config, as JSON")


def write_forecast_table(arguments: argparse.Namespace, table: "pd.DataFrame") -> None:
    """Write it where the options say."""
    write_table(table, arguments.out)
    log.info("wrote %s: %d rows", arguments.out, len(table))
