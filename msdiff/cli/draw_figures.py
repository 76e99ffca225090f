"""Draw the figures of the report: follow-ups, preprocessing, detection, image quality, loss curves."""

import argparse
import logging
from pathlib import Path

from msdiff import settings
from msdiff.errors import BadInput
from msdiff.tables.layout import TableSettings

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--stack", type=Path, required=True, help="the cohort's stack of scans")
    parser.add_argument("--contrast", help="the contrast to show; without it flair, or the stack's first by name")
    parser.add_argument("--held-out", type=Path, nargs="*", default=[], help="shards drawn for held-out patients")
    parser.add_argument(
        "--histories", nargs="*", default=[], metavar="NAME=CSV", help="training histories; unet/1-2/seed-0=... groups"
    )
    parser.add_argument("--previews", type=Path, help="folder of the pictures that a generator's training wrote")
    parser.add_argument("--tables", type=Path, required=True, help="folder of the tables")
    parser.add_argument("--out", type=Path, required=True, help="folder to write PNG files to")
    parser.add_argument("--settings", required=True, help="section tables of the config, as JSON")


def run(arguments: argparse.Namespace) -> None:
    """Read what was computed, draw what there is."""
    import pandas as pd

    from msdiff.cohort.samples import load_shard
    from msdiff.cohort.stacks import load_stack
    from msdiff.report.figures import Sources, draw
    from msdiff.report.pictures import save_picture, shown_contrast
    from msdiff.tables.layout import read_tables
    from msdiff.writing import whole_folder

    n_patients = settings.read(TableSettings, arguments.settings, "tables").figure_patients
    stack = load_stack(arguments.stack)
    shards = [load_shard(folder) for folder in arguments.held_out]
    histories = {}
    for entry in arguments.histories:
        name, equals, path = entry.partition("=")
        if not equals:
            raise BadInput(f"--histories: expected NAME=CSV, got {entry!r}")
        histories[name] = pd.read_csv(path)
    logger.info("drawing figures of %d shards and %d trainings", len(shards), len(histories))
    sources = Sources(
        stack=stack,
        contrast=arguments.contrast or shown_contrast(stack),
        shards=shards,
        histories=histories,
        tables=read_tables(arguments.tables),
        previews=sorted(arguments.previews.glob("*.png")) if arguments.previews is not None else [],
        n_patients=n_patients,
    )
    with whole_folder(arguments.out) as folder:
        for name, picture in draw(sources):
            save_picture(picture, folder / f"{name}.png")
            logger.info("wrote %s: %s", arguments.out / f"{name}.png", picture.title)
