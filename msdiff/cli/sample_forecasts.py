"""Sample one shard of a purpose's forecasts. Neither the number of shards nor the batch changes a draw."""

import argparse
import logging
from pathlib import Path

from msdiff.cli.stacks import add_slabs

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_slabs(parser)
    parser.add_argument("--weights", type=Path, required=True, help="weights from train-control")
    parser.add_argument("--purpose", required=True, help="name of the purpose, a key of forecasting.draws")
    parser.add_argument("--shard", type=int, required=True, help="which shard, from 000")
    parser.add_argument("--shards", type=int, required=True, help="number of shards of the purpose")
    parser.add_argument("--batch", type=int, required=True, help="draws at a time")
    parser.add_argument("--threads", type=int, required=True, help="threads of the processor to use")
    parser.add_argument(
        "--compile",
        choices=("never", "accelerator", "always"),
        default="never",
        help="compile the networks: never, where an accelerator samples, or on the CPU too; changes rounding only",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the shard to write")
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
    from msdiff.sampling.shard import sample_shard
    from msdiff.settings import read
    from msdiff.training import processor

    settings = read(SamplingSettings, arguments.settings)
    device = processor(arguments.threads)
    forecaster = load(arguments.weights, device, arguments.compile)
    sampling = forecasts_of(load_slabs(*arguments.slabs), forecaster, arguments.purpose, settings)
    draws = sample_shard(
        sampling, arguments.shard, arguments.shards, arguments.batch, arguments.out, device.type != "cpu"
    )
    log.info("wrote %s: %d draws", arguments.out, draws)
