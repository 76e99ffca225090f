"""Compare generated with real follow-ups of held-out patients: one row per sample, image and region."""

import argparse
import logging
from pathlib import Path

from msdiff.cli.named import add_keys_argument, keys_of
from msdiff.cli.stacks import add_stack

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_stack(parser)
    parser.add_argument("--shards", type=Path, nargs="+", required=True, help="shards of purpose held_out")
    parser.add_argument("--detector", type=Path, required=True, help="weights of a detector that trained no generator")
    add_keys_argument(parser)
    parser.add_argument("--scores", type=Path, required=True, help="scores to write (TSV)")
    parser.add_argument("--threads", type=int, required=True, help="threads of the processor to use")
    parser.add_argument("--settings", required=True, help="JSON: section synthesis.scoring")


def run(arguments: argparse.Namespace) -> None:
    """Score all shards."""
    from msdiff.networks.detectors import load_detector
    from msdiff.sampling.shards import load_shard
    from msdiff.settings import read
    from msdiff.stack.reading import load_stack
    from msdiff.synthesis.scoring import ScoringSettings, score_images
    from msdiff.training import processor
    from msdiff.writing import whole_file

    settings = read(ScoringSettings, arguments.settings)
    processor(arguments.threads)
    detector, contrast = load_detector(arguments.detector)
    shards = [load_shard(folder) for folder in arguments.shards]
    scores = score_images(load_stack(*arguments.stack), shards, contrast, detector, settings)
    with whole_file(arguments.scores) as temporary:
        scores.assign(**keys_of(arguments)).to_csv(temporary, sep="\t", index=False)
    log.info("wrote %s: %d rows", arguments.scores, len(scores))
