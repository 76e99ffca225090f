"""Train a generator of follow-up scans on the training split; the same command resumes it."""

import argparse
import json
import logging
from pathlib import Path

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--stack", type=Path, required=True, help="stack of the cohort's scans")
    parser.add_argument("--auxiliary", type=Path, required=True, help="weights of the frozen detector in the loss")
    parser.add_argument("--checkpoints", type=Path, required=True, help="folder of this training's checkpoints")
    parser.add_argument("--weights", type=Path, required=True, help="weights to write (safetensors)")
    parser.add_argument("--history", type=Path, required=True, help="history to write (CSV)")
    parser.add_argument("--minutes", type=float, help="time limit of this process; stops itself before it")
    parser.add_argument("--threads", type=int, required=True, help="threads of the processor to use")
    parser.add_argument("--settings", required=True, help='JSON: {"generator": name, ...}')


def run(arguments: argparse.Namespace) -> None:
    """Train, or continue from the newest checkpoint."""
    from msdiff.backends import load
    from msdiff.cohort.stacks import load_stack
    from msdiff.errors import BadSettings
    from msdiff.networks.weights import save_weights, sha256
    from msdiff.synthesis import TRAIN
    from msdiff.training import processor
    from msdiff.writing import whole_file

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
    with whole_file(arguments.history) as temporary:
        trained.history.to_csv(temporary, index=False)
    # Weights last: where they are, the training is complete.
    save_weights(trained.tensors, trained.description, arguments.weights)
    log.info("wrote %s (sha256 %s) and %s", arguments.weights, sha256(arguments.weights), arguments.history)
