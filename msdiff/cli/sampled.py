"""What the sampling commands share: the options of a shard, and the writing of one."""

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msdiff.cli.trained import add_compile_argument

if TYPE_CHECKING:
    import torch

    from msdiff.sampling.shard import Sampling

log = logging.getLogger(__name__)


def add_shard_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare --shard, --shards, --batch, --threads, --compile and --out."""
    parser.add_argument("--shard", type=int, required=True, help="which shard, from 000")
    parser.add_argument("--shards", type=int, required=True, help="number of shards")
    parser.add_argument("--batch", type=int, required=True, help="samples at a time")
    parser.add_argument("--threads", type=int, required=True, help="threads of the processor to use")
    add_compile_argument(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder of the shard to write")


def write_shard(sampling: "Sampling[Any]", device: "torch.device", arguments: argparse.Namespace) -> None:
    """Sample the shard that the arguments name."""
    from msdiff.sampling.shard import sample_shard

    samples = sample_shard(
        sampling, arguments.shard, arguments.shards, arguments.batch, arguments.out, device.type != "cpu"
    )
    log.info("wrote %s: %d samples", arguments.out, samples)
