"""Write the index of slices of a stack: what every pair of scans holds, slice by slice."""

import argparse
import logging
from pathlib import Path

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--stack", required=True, type=Path, help="the cohort's stack")
    parser.add_argument("--pairs", required=True, type=Path, help="list of pairs from pair-scans (TSV)")
    parser.add_argument("--out", required=True, type=Path, help="index to write (TSV)")


def run(arguments: argparse.Namespace) -> None:
    """Write the index."""
    from msdiff.lists import read_list
    from msdiff.stack.pairs import PAIR_COLUMNS, slice_index
    from msdiff.stack.reading import load_stack
    from msdiff.writing import whole_file

    pairs = read_list(arguments.pairs, PAIR_COLUMNS)
    index = slice_index(load_stack(arguments.stack), pairs)
    with whole_file(arguments.out) as temporary:
        index.to_csv(temporary, sep="\t", index=False)
    log.info("wrote %s: %d pairs, %d slices", arguments.out, len(pairs), len(index))
