"""Write the table of what each idea of a generator buys."""

import argparse
import logging
from pathlib import Path

from msdiff import settings
from msdiff.tables.layout import TableSettings, write_table

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--cohort", required=True, help="name of the cohort, for the table's column")
    parser.add_argument(
        "--scores",
        type=Path,
        nargs="+",
        required=True,
        help="files ablation/VARIANT/seed-SEED/image_scores.tsv",
    )
    parser.add_argument("--out", type=Path, required=True, help="CSV to write")
    parser.add_argument("--settings", required=True, help="section tables of the config, as JSON")


def run(arguments: argparse.Namespace) -> None:
    """Read the scores, write the table."""
    from msdiff.tables.ablation import ablation_table, read_variants

    chosen = settings.read(TableSettings, arguments.settings, "tables")
    variants = read_variants(arguments.scores)
    log.info("table of %d trainings of %d variants", sum(map(len, variants.values())), len(variants))
    table = ablation_table(variants, arguments.cohort, chosen)
    write_table(table, arguments.out)
    log.info("wrote %s: %d rows", arguments.out, len(table))
