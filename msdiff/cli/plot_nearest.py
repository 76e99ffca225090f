"""Picture the synthetic follow-ups that are most like training follow-ups of other patients, and all similarities."""

import argparse
import logging
from pathlib import Path

from msdiff import settings
from msdiff.privacy.thresholds import PictureSettings

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--stack", type=Path, required=True, help="stack of the cohort's scans")
    parser.add_argument("--contrast", required=True, help="contrast of the follow-ups")
    parser.add_argument("--shards", type=Path, nargs="+", required=True, help="shards of purpose mass")
    parser.add_argument("--nearest", type=Path, required=True, help="list from find-nearest")
    parser.add_argument("--out", type=Path, required=True, help="folder to write PNG files to")
    parser.add_argument("--settings", required=True, help="section privacy.pictures of the config, as JSON")


def run(arguments: argparse.Namespace) -> None:
    """Plot the pairs of each measure, and the distributions."""
    from msdiff.lists import read_results
    from msdiff.privacy.thresholds import NEAREST_COLUMNS
    from msdiff.report.pictures import save_picture
    from msdiff.report.privacy.figures import plot_pairs, plot_similarities
    from msdiff.sampling.shards import load_slices
    from msdiff.stack.reading import load_stack
    from msdiff.writing import whole_folder

    chosen = settings.read(PictureSettings, arguments.settings, "privacy.pictures")
    stack = load_stack(arguments.stack)
    shards = [load_slices(folder, stack) for folder in arguments.shards]
    nearest = read_results(arguments.nearest, NEAREST_COLUMNS)
    with whole_folder(arguments.out) as folder:
        save_picture(plot_similarities(nearest), folder / "similarities.png")
        for measure, rows in nearest.groupby("measure", sort=False):
            picture = plot_pairs(stack, arguments.contrast, shards, rows, chosen.pairs)
            save_picture(picture, folder / f"pairs_{measure}.png")
    log.info("wrote %s", arguments.out)
