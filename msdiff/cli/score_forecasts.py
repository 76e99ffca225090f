"""Count the lesions of all draws of a purpose by region, and compare them with the true outcome."""

import argparse
import logging
from pathlib import Path

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--slabs", type=Path, required=True, help="slabs from cut-slabs")
    parser.add_argument("--shards", type=Path, nargs="+", required=True, help="all shards of the purpose")
    parser.add_argument("--out", type=Path, required=True, help="folder of scores to write")
    parser.add_argument("--settings", required=True, help="JSON: section forecasting.readout")


def run(arguments: argparse.Namespace) -> None:
    """Score all shards."""
    from msdiff.forecasting.readout import score_forecasts
    from msdiff.forecasting.slabs import load_slabs
    from msdiff.metrics.regional import ReadoutSettings
    from msdiff.sampling.shards import load_shard
    from msdiff.settings import read

    settings = read(ReadoutSettings, arguments.settings)
    shards = [load_shard(folder) for folder in arguments.shards]
    rows = score_forecasts(load_slabs(arguments.slabs), shards, settings, arguments.out)
    log.info("wrote %s: %d rows", arguments.out, rows)
