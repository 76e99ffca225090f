"""Generate one shard of a plan. Neither the number of shards nor the batch changes a sample."""

import argparse
from pathlib import Path

from msdiff.cli.sampled import add_shard_arguments, write_shard


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--stack", type=Path, required=True, help="stack of the cohort's scans")
    parser.add_argument("--plan", type=Path, required=True, help="plan from plan-samples")
    parser.add_argument("--weights", type=Path, required=True, help="weights from train-generator")
    parser.add_argument("--generator", help="its name; without it, one of msdiff's own, as the weights say")
    parser.add_argument("--module", help="module of a generator of one's own, as the config names it")
    add_shard_arguments(parser)
    parser.add_argument("--settings", required=True, help="JSON: section synthesis.sampler")


def run(arguments: argparse.Namespace) -> None:
    """Sample one shard."""
    from msdiff.diffusion.sampler import SamplerSettings
    from msdiff.settings import read
    from msdiff.stack.reading import load_stack
    from msdiff.synthesis.sampling import read_plan, samples_of
    from msdiff.training import processor

    device = processor(arguments.threads)
    sampling = samples_of(
        load_stack(arguments.stack),
        read_plan(arguments.plan),
        arguments.weights,
        read(SamplerSettings, arguments.settings),
        device,
        arguments.compile,
        arguments.generator,
        arguments.module,
    )
    write_shard(sampling, device, arguments)
