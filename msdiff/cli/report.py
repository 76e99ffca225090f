"""Write the report: one self-contained page of this run's tables and figures beside the papers'."""

import argparse
import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from msdiff.cli.named import named
from msdiff.cli.stacks import add_stack
from msdiff.errors import BadInput

if TYPE_CHECKING:
    import pandas as pd

    from msdiff.report.imaging.scans import ScanParts

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--tables", type=Path, nargs="+", required=True, help="tables of the run, in CSV")
    parser.add_argument("--figures", type=Path, required=True, help="folder of the figures")
    parser.add_argument(
        "--privacy-figures", nargs="*", default=[], metavar="GENERATOR=FOLDER", help="pictures that plot-nearest wrote"
    )
    parser.add_argument("--provenance", type=Path, required=True, help="JSON that the command provenance wrote")
    add_stack(parser, required=False)
    parser.add_argument("--pictures", type=Path, nargs="+", help="folders that check-quality wrote")
    parser.add_argument("--sheet", type=Path, help="the cohort's scan sheet, for the scans that it excludes")
    parser.add_argument("--cards", type=Path, nargs="*", default=[], help="model card and datasheet, to be linked")
    parser.add_argument("--reader-pages", type=Path, nargs="*", default=[], help="pages for readers, to be linked")
    parser.add_argument("--out", type=Path, required=True, help="HTML to write")


def run(arguments: argparse.Namespace) -> None:
    """Read what was written, write the page."""
    from msdiff.preprocess.quality import QualitySettings
    from msdiff.report.page import Beside, read_figures, report_page, shown_tables
    from msdiff.settings import check
    from msdiff.stack.reading import load_stack
    from msdiff.tables.layout import TableSettings, read_tables
    from msdiff.tables.quality import summary
    from msdiff.writing import whole_file

    try:
        provenance = json.loads(arguments.provenance.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise BadInput(f"{arguments.provenance}: expected the record of a run, cannot read it ({error})") from error
    splits = {}
    if arguments.stack is not None:
        patients = load_stack(*arguments.stack).scans.drop_duplicates("subject")
        counts = patients["split"].value_counts()
        splits = {split: int(counts[split]) for split in ("train", "validation", "test") if split in counts}
    tables = read_tables(arguments.tables)
    figures = read_figures(arguments.figures) | read_privacy_figures(arguments.privacy_figures)
    scans = None
    if "quality" in tables:
        config = provenance["config"]
        chosen = check(TableSettings, config["tables"], "tables")
        limits = check(QualitySettings, config["preprocess"]["quality"], "preprocess.quality").limits
        scans = read_scans(arguments, tables["quality"], chosen.quality_pictures)
        tables["quality"] = summary(tables["quality"], limits, chosen)
    log.info("report of %d tables and %d figures", len(tables), len(figures))
    folder, readers = arguments.out.parent, arguments.reader_pages
    beside = Beside(
        tables={path.stem: os.path.relpath(path, folder) for path in arguments.tables},
        pages={
            "reader_study": {
                f"page for readers, {page.parent.parent.name}": os.path.relpath(page, folder) for page in readers
            }
        },
        cards={card_title(path): os.path.relpath(path, folder) for path in arguments.cards},
    )
    page = report_page(shown_tables(tables), figures, provenance, splits, scans, beside)
    with whole_file(arguments.out) as temporary:
        temporary.write_text(page, encoding="utf-8")
    log.info("wrote %s", arguments.out)


def read_privacy_figures(entries: list[str]) -> dict[str, Path]:
    """The pictures of each GENERATOR=FOLDER, by kind and generator; BadInput for another form."""
    from msdiff.report.page import read_figures

    found: dict[str, Path] = {}
    for generator, folder in named("--privacy-figures", "GENERATOR=FOLDER", entries):
        found |= {f"privacy_{name}/{generator}": path for name, path in read_figures(folder).items()}
    return found


def card_title(path: Path) -> str:
    """A card's name in words: model_card.md is the model card."""
    return path.stem.replace("_", " ")


def read_scans(arguments: argparse.Namespace, table: "pd.DataFrame", shown: int) -> "ScanParts":
    """The scans of the table of quality control, with their pictures, and those that the sheet excludes."""
    from msdiff.lists import read_results
    from msdiff.report.imaging.scans import scan_parts

    if arguments.pictures is None or arguments.sheet is None:
        raise BadInput("quality.csv: expected --pictures and --sheet beside it, got only one or none; give both")
    sheet = read_results(arguments.sheet, ["subject", "session"])
    return scan_parts(table, arguments.pictures, arguments.out, shown, sheet)
