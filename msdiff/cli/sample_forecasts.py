"""Sample one shard of a purpose's forecasts. Neither the number of shards nor the batch changes a draw."""

import argparse
from pathlib import Path

from msdiff.cli.sampled import add_shard_arguments, write_shard
from msdiff.cli.stacks import add_slabs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_slabs(parser)
    parser.add_argument("--weights", type=Path, required=True, help="weights from train-control")
    parser.add_argument("--purpose", required=True, help="name of the purpose, a key of forecasting.draws")
    add_shard_arguments(parser)
    parser.add_argument(
        "--settings",
        required=True,
        help="JSON: seed, voxel_threshold and sampler of section forecasting, and draws of the purpose",
    )


def run(arguments: argparse.Namespace) -> None:
    """Sample one shard."""
    from msdiff.forecasting.forecaster import load
    from msdiff.forecasting.sampling import SamplingSettings, forecasts_of
    from msdiff.forecasting.slabs import load_slabs
    from msdiff.settings import read
    from msdiff.training import processor

    settings = read(SamplingSettings, arguments.settings)
    device = processor(arguments.threads)
    forecaster = load(arguments.weights, device, arguments.compile)
    sampling = forecasts_of(load_slabs(*arguments.slabs), forecaster, arguments.purpose, settings)
    write_shard(sampling, device, arguments)
