"""Check that no held-out patient stands behind a sample, a generator or its auxiliary detector; exit code 2 if so."""

import argparse
import json
import logging
from pathlib import Path

from msdiff.cli.named import add_keys_argument, keys_of
from msdiff.cli.stacks import add_stack

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_stack(parser)
    parser.add_argument("--plan", type=Path, required=True, help="plan of purpose mass")
    parser.add_argument("--shards", type=Path, nargs="+", required=True, help="shards of purpose mass")
    parser.add_argument("--generator", type=Path, required=True, help="weights from train-generator")
    parser.add_argument("--auxiliary", type=Path, required=True, help="weights of the detector in its loss")
    parser.add_argument("--auxiliary-slices", type=Path, required=True, help="list that the auxiliary was trained on")
    add_keys_argument(parser)
    parser.add_argument("--out", type=Path, required=True, help="what was checked (JSON)")


def run(arguments: argparse.Namespace) -> None:
    """Check everything, then write the record."""
    from msdiff.privacy.leakage import Evidence, check_leakage
    from msdiff.stack.reading import load_stack
    from msdiff.writing import whole_file

    evidence = Evidence(
        plan=arguments.plan,
        shards=arguments.shards,
        generator=arguments.generator,
        auxiliary=arguments.auxiliary,
        auxiliary_slices=arguments.auxiliary_slices,
    )
    record = check_leakage(load_stack(*arguments.stack), evidence) | keys_of(arguments)
    with whole_file(arguments.out) as temporary:
        temporary.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
    log.info("wrote %s", arguments.out)
