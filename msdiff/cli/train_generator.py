"""Train a generator of follow-up scans on the training split; the same command resumes it."""

import argparse
import json
import logging
import shutil
from pathlib import Path
from typing import Any

from msdiff.cli.stacks import add_stack
from msdiff.cli.trained import add_compile_argument, add_training_arguments, write_trained

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_stack(parser)
    parser.add_argument("--auxiliary", type=Path, required=True, help="weights of the frozen detector in the loss")
    add_training_arguments(parser)
    add_compile_argument(parser)
    parser.add_argument("--previews", type=Path, help="folder to write, of pictures of samples while it trained")
    parser.add_argument("--settings", required=True, help='JSON: {"generator": name, ...}')


def run(arguments: argparse.Namespace) -> None:
    """Train, or continue from the newest checkpoint, in one process or several."""
    from msdiff.processes import in_processes
    from msdiff.settings import check
    from msdiff.training import TrainingSettings

    settings = _settings(arguments.settings)
    # A generator that trains in its own way has no such section, and no parts to share.
    alone = "training" not in settings
    parts = 1 if alone else check(TrainingSettings, settings["training"], f"{settings['generator']}.training").parts
    in_processes(_train, arguments, parts)


def _train(arguments: argparse.Namespace) -> None:
    from msdiff import processes
    from msdiff.backends import load
    from msdiff.stack.reading import load_stack
    from msdiff.synthesis import TRAIN
    from msdiff.training import processor
    from msdiff.writing import whole_folder

    settings = _settings(arguments.settings)
    generator = settings["generator"]
    log.info("training %s on %s, auxiliary %s", generator, arguments.stack[0], arguments.auxiliary)
    trained = load(TRAIN, generator)(
        load_stack(*arguments.stack),
        settings,
        arguments.auxiliary,
        arguments.checkpoints,
        arguments.minutes,
        processor(arguments.threads),
        arguments.compile,
    )
    if arguments.previews is not None and processes.rank() == 0:
        with whole_folder(arguments.previews) as temporary:
            for picture in sorted(trained.previews.glob("*.png")) if trained.previews else ():
                shutil.copy(picture, temporary)
    write_trained(arguments, trained.tensors, trained.description, trained.history)


def _settings(text: str) -> dict[str, Any]:
    """The section of a generator, which checks it itself."""
    from msdiff.errors import BadSettings

    try:
        settings: dict[str, Any] = json.loads(text)
        settings["generator"]
    except (ValueError, KeyError, TypeError) as error:
        raise BadSettings(f'settings: expected JSON {{"generator": name, ...}}, got {text[:60]}') from error
    return settings
