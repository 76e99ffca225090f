"""Generate one shard of a plan. Neither the number of shards nor the batch changes a sample."""

import argparse
import logging
from pathlib import Path

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--stack", type=Path, required=True, help="stack of the cohort's scans")
    parser.add_argument("--plan", type=Path, required=True, help="plan from plan-samples")
    parser.add_argument("--weights", type=Path, required=True, help="weights from train-generator")
    parser.add_argument("--generator", help="its name; without it, one of msdiff's own, as the weights say")
    parser.add_argument("--module", help="module of a generator of one's own, as the config names it")
    parser.add_argument("--shard", type=int, required=True, help="which shard, from 000")
    parser.add_argument("--shards", type=int, required=True, help="number of shards of the plan")
    parser.add_argument("--batch", type=int, required=True, help="samples at a time")
    parser.add_argument("--threads", type=int, required=True, help="threads of the processor to use")
    parser.add_argument(
        "--compile",
        choices=("never", "accelerator", "always"),
        default="never",
        help="compile the network: never, where an accelerator samples, or on the CPU too; changes rounding only",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the shard to write")
    parser.add_argument("--settings", required=True, help="JSON: section synthesis.sampler")


def run(arguments: argparse.Namespace) -> None:
    """Sample one shard."""
    from msdiff.diffusion.sampler import SamplerSettings
    from msdiff.sampling.shard import sample_shard
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
    samples = sample_shard(
        sampling, arguments.shard, arguments.shards, arguments.batch, arguments.out, device.type != "cpu"
    )
    log.info("wrote %s: %d samples", arguments.out, samples)
