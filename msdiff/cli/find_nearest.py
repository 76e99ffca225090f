"""Find the training follow-up of another patient that is most like each synthetic one; flag those too much alike."""

import argparse
import logging
from pathlib import Path

from msdiff.cli.named import add_keys_argument, keys_of
from msdiff.cli.stacks import add_stack

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_stack(parser)
    parser.add_argument("--shards", type=Path, nargs="+", required=True, help="shards of purpose mass")
    parser.add_argument("--embedding", type=Path, required=True, help="weights from train-embedding")
    add_keys_argument(parser)
    parser.add_argument("--threads", type=int, required=True, help="threads of the processor to use")
    parser.add_argument("--out", type=Path, required=True, help="list to write (TSV)")
    parser.add_argument("--settings", required=True, help="JSON: section privacy.nearest")


def run(arguments: argparse.Namespace) -> None:
    """Compare all samples, and all held-out follow-ups, with all training follow-ups."""
    from msdiff.privacy.embedding import Embedding
    from msdiff.privacy.nearest import find_nearest
    from msdiff.privacy.thresholds import NearestSettings
    from msdiff.settings import read
    from msdiff.stack.reading import load_stack
    from msdiff.training import processor
    from msdiff.writing import whole_file

    settings = read(NearestSettings, arguments.settings)
    embedding = Embedding(arguments.embedding, processor(arguments.threads))
    rows = find_nearest(load_stack(*arguments.stack), arguments.shards, embedding, settings)
    with whole_file(arguments.out) as temporary:
        rows.assign(**keys_of(arguments)).to_csv(temporary, sep="\t", index=False, float_format="%.6f")
    log.info("wrote %s: %d rows", arguments.out, len(rows))
