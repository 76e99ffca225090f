"""Train the ControlNet of a model of forecasts on a trained prior; the same command resumes it."""

import argparse
from pathlib import Path

from msdiff.cli.stacks import add_slabs
from msdiff.cli.trained import Training, add_compile_argument, add_training_arguments, run_training


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_slabs(parser)
    parser.add_argument("--prior", type=Path, required=True, help="weights of the prior, from train-prior")
    parser.add_argument("--model", required=True, help="name of the model, which its weights remember")
    add_training_arguments(parser)
    add_compile_argument(parser)
    parser.add_argument("--settings", required=True, help='JSON: {"control": ..., "model": ...}')


def run(arguments: argparse.Namespace) -> None:
    """Train, or continue from the newest checkpoint, in one process or several."""
    run_training(_training, arguments)


def _training(arguments: argparse.Namespace) -> Training:
    from msdiff.forecasting.control import train_control
    from msdiff.forecasting.options import TrainControlSettings
    from msdiff.forecasting.slabs import load_slabs
    from msdiff.settings import read

    settings = read(TrainControlSettings, arguments.settings)
    return Training(
        f"{arguments.model} on {arguments.slabs[0]}, prior {arguments.prior}",
        settings.control.training.parts,
        lambda device: train_control(
            load_slabs(*arguments.slabs),
            settings,
            arguments.model,
            arguments.prior,
            arguments.checkpoints,
            arguments.minutes,
            device,
            arguments.compile,
        ),
    )
