"""Train a generator of follow-up scans on the training split; the same command resumes it."""

import argparse
import json
import logging
from pathlib import Path

from msdiff.cli.trained import add_training_arguments, write_trained

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--stack", type=Path, required=True, help="stack of the cohort's scans")
    parser.add_argument("--auxiliary", type=Path, required=True, help="weights of the frozen detector in the loss")
    add_training_arguments(parser)
    parser.add_argument("--settings", required=True, help='JSON: {"generator": name, ...}')


def run(arguments: argparse.Namespace) -> None:
    """Train, or continue from the newest checkpoint."""
    from msdiff.backends import load
    from msdiff.cohort.stacks import load_stack
    from msdiff.errors import BadSettings
    from msdiff.synthesis import TRAIN
    from msdiff.training import processor

    try:
        settings = json.loads(arguments.settings)
        generator = settings["generator"]
    except (ValueError, KeyError, TypeError) as error:
        raise BadSettings(
            f'settings: expected JSON {{"generator": name, ...}}, got {arguments.settings[:60]}'
        ) from error
    log.info("training %s on %s, auxiliary %s", generator, arguments.stack, arguments.auxiliary)
    trained = load(TRAIN, generator)(
        load_stack(arguments.stack),
        settings,
        arguments.auxiliary,
        arguments.checkpoints,
        arguments.minutes,
        processor(arguments.threads),
    )
    write_trained(arguments, trained.tensors, trained.description, trained.history)
