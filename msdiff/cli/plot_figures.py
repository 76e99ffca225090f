"""Plot the figures of the report: follow-ups, forecasts, preprocessing, detection, image quality, loss curves."""

import argparse
import logging
from pathlib import Path

from msdiff import settings
from msdiff.cli.named import named
from msdiff.cli.stacks import add_slabs, add_stack
from msdiff.tables.layout import TableSettings

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_stack(parser)
    parser.add_argument("--contrast", help="the contrast to show; without it flair, or the stack's first by name")
    parser.add_argument("--held-out", type=Path, nargs="*", default=[], help="shards of held-out patients")
    parser.add_argument(
        "--histories", nargs="*", default=[], metavar="NAME=CSV", help="training histories; unet/1-2/seed-0=... groups"
    )
    parser.add_argument("--previews", type=Path, help="folder of the pictures that a generator's training wrote")
    add_slabs(parser, required=False)
    parser.add_argument(
        "--forecasts", nargs="*", default=[], metavar="PURPOSE=SCORES", help="folders that score-forecasts wrote"
    )
    parser.add_argument(
        "--forecast-shards", nargs="*", default=[], metavar="PURPOSE=SHARD", help="folders that sample-forecasts wrote"
    )
    parser.add_argument("--tables", type=Path, nargs="+", required=True, help="tables of the run, in CSV")
    parser.add_argument("--out", type=Path, required=True, help="folder to write PNG files to")
    parser.add_argument("--settings", required=True, help="section tables of the config, as JSON")


def run(arguments: argparse.Namespace) -> None:
    """Read what was computed, plot what there is."""
    import pandas as pd

    from msdiff.forecasting.slabs import load_slabs
    from msdiff.report.figures import plot
    from msdiff.report.forecasting.reading import read_forecasts
    from msdiff.report.pictures import save_picture, shown_contrast
    from msdiff.sampling.shards import load_slices
    from msdiff.stack.reading import load_stack
    from msdiff.tables.layout import read_tables
    from msdiff.writing import whole_folder

    n_patients = settings.read(TableSettings, arguments.settings, "tables").figure_patients
    stack = load_stack(*arguments.stack)
    shards = [load_slices(folder, stack) for folder in arguments.held_out]
    histories = {name: pd.read_csv(path) for name, path in named("--histories", "NAME=CSV", arguments.histories)}
    forecast_shards = named("--forecast-shards", "PURPOSE=SHARD", arguments.forecast_shards)
    forecasts = {
        purpose: read_forecasts(scores, [shard for name, shard in forecast_shards if name == purpose])
        for purpose, scores in named("--forecasts", "PURPOSE=SCORES", arguments.forecasts)
    }
    log.info("plotting figures of %d shards and %d trainings", len(shards), len(histories))
    sources = {
        "stack": stack,
        "contrast": arguments.contrast or shown_contrast(stack),
        "held_out": shards,
        "histories": histories,
        "previews": sorted(arguments.previews.glob("*.png")) if arguments.previews is not None else [],
        "n_patients": n_patients,
        **{f"table/{name}": table for name, table in read_tables(arguments.tables).items()},
        **({} if arguments.slabs is None else {"slabs": load_slabs(*arguments.slabs)}),
        **{f"forecasts/{purpose}": found for purpose, found in forecasts.items()},
    }
    with whole_folder(arguments.out) as folder:
        for name, picture in plot(sources):
            save_picture(picture, folder / f"{name}.png")
            log.info("wrote %s: %s", arguments.out / f"{name}.png", picture.title)
