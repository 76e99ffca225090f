"""Write the report: one self-contained page of this run's tables and figures beside the papers'."""

import argparse
import json
import logging
from pathlib import Path

from msdiff.errors import BadInput

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--tables", type=Path, required=True, help="folder of the tables")
    parser.add_argument("--figures", type=Path, required=True, help="folder of the figures")
    parser.add_argument("--provenance", type=Path, required=True, help="JSON that the command provenance wrote")
    parser.add_argument("--stack", type=Path, help="the cohort's stack of scans, for the number of patients per split")
    parser.add_argument("--out", type=Path, required=True, help="HTML to write")


def run(arguments: argparse.Namespace) -> None:
    """Read what was written, write the page."""
    from msdiff.cohort.stacks import load_stack
    from msdiff.report.page import read_figures, read_tables, report_page
    from msdiff.writing import whole_file

    try:
        provenance = json.loads(arguments.provenance.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise BadInput(f"{arguments.provenance}: expected the record of a run, cannot read it ({error})") from error
    splits = {}
    if arguments.stack is not None:
        patients = load_stack(arguments.stack).scans.drop_duplicates("subject")
        counts = patients["split"].value_counts()
        splits = {split: int(counts[split]) for split in ("train", "validation", "test") if split in counts}
    tables, figures = read_tables(arguments.tables), read_figures(arguments.figures)
    logger.info("report of %d tables and %d figures", len(tables), len(figures))
    page = report_page(tables, figures, provenance, splits)
    with whole_file(arguments.out) as temporary:
        temporary.write_text(page, encoding="utf-8")
    logger.info("wrote %s", arguments.out)
