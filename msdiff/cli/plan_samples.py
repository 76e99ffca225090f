"""List what to generate: baseline, change mask and seed of every sample."""

import argparse
import logging
from pathlib import Path

from msdiff.cli.stacks import add_stack

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_stack(parser)
    parser.add_argument(
        "--purpose",
        choices=("mass", "held_out"),
        required=True,
        help="mass: new follow-ups of training patients; held_out: of patients to be compared with their real ones",
    )
    parser.add_argument(
        "--item", choices=("slice", "volume"), default="slice", help="what the generator samples, slices without it"
    )
    parser.add_argument("--plan", type=Path, required=True, help="plan to write (TSV)")
    parser.add_argument("--settings", required=True, help="JSON: section synthesis.plan")


def run(arguments: argparse.Namespace) -> None:
    """Plan the samples of one purpose."""
    from msdiff.settings import read
    from msdiff.stack.reading import load_stack
    from msdiff.synthesis.plan import PlanSettings, plan_samples
    from msdiff.writing import whole_file

    settings = read(PlanSettings, arguments.settings)
    log.info("planning %s samples of %s, seed %d", arguments.purpose, arguments.stack[0], settings.seed)
    plan = plan_samples(load_stack(*arguments.stack), arguments.purpose, settings, arguments.item)
    with whole_file(arguments.plan) as temporary:
        plan.to_csv(temporary, sep="\t", index=False)
    log.info("wrote %s: %d samples", arguments.plan, len(plan))
