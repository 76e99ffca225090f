"""Train the SynthSeg network on images painted from label maps; the same command resumes it."""

import argparse

from msdiff.cli.trained import Training, add_training_arguments, run_training


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_training_arguments(parser)
    parser.add_argument("--settings", required=True, help="JSON: section parcellation.training")


def run(arguments: argparse.Namespace) -> None:
    """Train, or continue from the newest checkpoint, in one process or several."""
    run_training(_training, arguments)


def _training(arguments: argparse.Namespace) -> Training:
    from msdiff.parcellation.learning import ParcellatorSettings, train_parcellator
    from msdiff.settings import read

    settings = read(ParcellatorSettings, arguments.settings)
    return Training(
        "the SynthSeg network on painted label maps",
        settings.training.parts,
        lambda device: train_parcellator(settings, arguments.checkpoints, arguments.minutes, device),
    )
