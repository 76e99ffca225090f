"""Write the table of generated against real follow-ups, by generator and region."""

import argparse
import logging
from pathlib import Path

from msdiff import settings
from msdiff.tables.layout import TableSettings, write_table

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--cohort", required=True, help="name of the cohort, for the table's column")
    parser.add_argument("--scores", type=Path, nargs="+", required=True, help="lists of scored samples")
    parser.add_argument("--out", type=Path, required=True, help="CSV to write")
    parser.add_argument("--settings", required=True, help="section tables of the config, as JSON")


def run(arguments: argparse.Namespace) -> None:
    """Read the scores, write the table."""
    from msdiff.tables.image_quality import image_quality_table, read_scores

    chosen = settings.read(TableSettings, arguments.settings, "tables")
    scores = read_scores(arguments.scores)
    log.info("table of %d scores of %d patients", len(scores), scores["subject"].nunique())
    table = image_quality_table(scores, arguments.cohort, chosen)
    write_table(table, arguments.out)
    log.info("wrote %s: %d rows", arguments.out, len(table))
