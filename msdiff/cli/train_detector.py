"""Train a detector of new lesions on a list of real and synthetic slices; the same command resumes it."""

import argparse
from pathlib import Path

from msdiff.cli.stacks import add_stack
from msdiff.cli.trained import Training, add_training_arguments, run_training


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_stack(parser)
    parser.add_argument("--slices", type=Path, required=True, help="list of training slices, from mix-slices")
    add_training_arguments(parser)
    parser.add_argument("--seed", type=int, required=True, help="seed of weights, order, augmentation and dropout")
    parser.add_argument("--settings", required=True, help="JSON: one section of detection.detectors")


def run(arguments: argparse.Namespace) -> None:
    """Train, or continue from the newest checkpoint, in one process or several."""
    run_training(_training, arguments)


def _training(arguments: argparse.Namespace) -> Training:
    from msdiff.detection.detectors import DetectorSettings, train_detector
    from msdiff.detection.mixes import load_mix
    from msdiff.settings import read
    from msdiff.stack.reading import load_stack

    settings = read(DetectorSettings, arguments.settings)
    return Training(
        f"{settings.architecture} on {arguments.slices} of {arguments.stack[0]}",
        settings.training.parts,
        lambda device: train_detector(
            load_stack(*arguments.stack),
            load_mix(arguments.slices),
            settings,
            seed=arguments.seed,
            checkpoints=arguments.checkpoints,
            minutes=arguments.minutes,
            device=device,
        ),
    )
