"""Train a detector of new lesions on a list of real and synthetic slices; the same command resumes it."""

import argparse
import logging
from pathlib import Path

from msdiff.cli.stacks import add_stack
from msdiff.cli.trained import add_training_arguments, write_trained

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_stack(parser)
    parser.add_argument("--slices", type=Path, required=True, help="list of training slices, from mix-slices")
    add_training_arguments(parser)
    parser.add_argument("--seed", type=int, required=True, help="seed of weights, order, augmentation and dropout")
    parser.add_argument("--settings", required=True, help="JSON: one section of detection.detectors")


def run(arguments: argparse.Namespace) -> None:
    """Train, or continue from the newest checkpoint, in one process or several."""
    from msdiff.detection.detectors import DetectorSettings
    from msdiff.processes import in_processes
    from msdiff.settings import read

    in_processes(_train, arguments, read(DetectorSettings, arguments.settings).training.parts)


def _train(arguments: argparse.Namespace) -> None:
    from msdiff.detection.detectors import DetectorSettings, train_detector
    from msdiff.detection.mixes import load_mix
    from msdiff.settings import read
    from msdiff.stack.reading import load_stack
    from msdiff.training import processor

    settings = read(DetectorSettings, arguments.settings)
    log.info("training %s on %s of %s", settings.architecture, arguments.slices, arguments.stack[0])
    trained, description = train_detector(
        load_stack(*arguments.stack),
        load_mix(arguments.slices),
        settings,
        seed=arguments.seed,
        checkpoints=arguments.checkpoints,
        minutes=arguments.minutes,
        device=processor(arguments.threads),
    )
    write_trained(arguments, trained.tensors, description, trained.history)
