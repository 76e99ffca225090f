"""List the slices that a detector trains on: real ones of the training split, and synthetic ones in a ratio."""

import argparse
import logging
from pathlib import Path

from msdiff.cli.stacks import add_stack

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_stack(parser)
    parser.add_argument("--mix", required=True, help="real-synthetic, such as 1-2")
    parser.add_argument("--seed", type=int, required=True, help="seed of the choice among synthetic slices")
    parser.add_argument("--shards", type=Path, nargs="*", default=[], help="folders of synthetic follow-ups")
    parser.add_argument("--out", type=Path, required=True, help="table of slices to write (TSV)")
    parser.add_argument("--settings", required=True, help='JSON: {"unit": ..., "mode": ...}')


def run(arguments: argparse.Namespace) -> None:
    """Mix real and synthetic slices."""
    from msdiff.detection.mixes import MixSettings, mix_slices
    from msdiff.settings import read
    from msdiff.stack.reading import load_stack
    from msdiff.writing import whole_file

    settings = read(MixSettings, arguments.settings)
    log.info("mixing slices %s of %s, seed %d, %s", arguments.mix, arguments.stack[0], arguments.seed, settings)
    table = mix_slices(load_stack(*arguments.stack), arguments.mix, arguments.shards, settings, arguments.seed)
    with whole_file(arguments.out) as temporary:
        table.to_csv(temporary, sep="\t", index=False)
    kinds = table["kind"].value_counts()
    log.info("wrote %s: %d real, %d synthetic", arguments.out, kinds.get("real", 0), kinds.get("synthetic", 0))
