"""Train a generator of follow-up scans on the training split; the same command resumes it."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msdiff.cli.stacks import add_stack
from msdiff.cli.trained import Training, add_compile_argument, add_training_arguments, run_training

if TYPE_CHECKING:
    import torch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_stack(parser)
    parser.add_argument("--auxiliary", type=Path, required=True, help="weights of the frozen detector in the loss")
    add_training_arguments(parser)
    add_compile_argument(parser)
    parser.add_argument("--previews", type=Path, help="folder to write, of pictures of samples while it trained")
    parser.add_argument(
        "--settings", required=True, help='JSON: {"generator": name, ...}; of one of your own its "module" too'
    )


def run(arguments: argparse.Namespace) -> None:
    """Train, or continue from the newest checkpoint, in one process or several."""
    run_training(_training, arguments)


def _training(arguments: argparse.Namespace) -> Training:
    from msdiff.settings import check
    from msdiff.stack.reading import load_stack
    from msdiff.synthesis import described, generator_of
    from msdiff.training import Trained, TrainingSettings

    settings = _settings(arguments.settings)
    generator = settings["generator"]
    # A generator that trains in its own way has no such section, and no parts to share.
    alone = "training" not in settings
    parts = 1 if alone else check(TrainingSettings, settings["training"], f"{generator}.training").parts
    own = {key: settings.pop(key, None) for key in ("module", "item")}

    def start(device: "torch.device") -> Trained:
        trained: Trained = generator_of(generator, own["module"]).train(
            load_stack(*arguments.stack),
            settings,
            arguments.auxiliary,
            arguments.checkpoints,
            arguments.minutes,
            device,
            arguments.compile,
        )
        return trained._replace(description=described(trained.description, generator, own["item"]))

    return Training(
        f"{generator} on {arguments.stack[0]}, auxiliary {arguments.auxiliary}",
        parts,
        start,
    )


def _settings(text: str) -> dict[str, Any]:
    """The section of a generator, which checks it itself."""
    from msdiff.errors import BadSettings

    try:
        settings: dict[str, Any] = json.loads(text)
        settings["generator"]
    except (ValueError, KeyError, TypeError) as error:
        raise BadSettings(f'settings: expected JSON {{"generator": name, ...}}, got {text[:60]}') from error
    return settings
