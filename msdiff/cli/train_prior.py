"""Train the prior of forecasts, NET2 masks by treatment, on the training split; the same command resumes it."""

import argparse

from msdiff.cli.stacks import add_slabs
from msdiff.cli.trained import Training, add_compile_argument, add_training_arguments, run_training


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_slabs(parser)
    add_training_arguments(parser)
    add_compile_argument(parser)
    parser.add_argument("--settings", required=True, help='JSON: {"network": ..., "prior": ...}')


def run(arguments: argparse.Namespace) -> None:
    """Train, or continue from the newest checkpoint, in one process or several."""
    run_training(_training, arguments)


def _training(arguments: argparse.Namespace) -> Training:
    from msdiff.forecasting.options import TrainPriorSettings
    from msdiff.forecasting.prior import train_prior
    from msdiff.forecasting.slabs import load_slabs
    from msdiff.settings import read

    settings = read(TrainPriorSettings, arguments.settings)
    return Training(
        f"the prior on {arguments.slabs[0]}",
        settings.prior.training.parts,
        lambda device: train_prior(
            load_slabs(*arguments.slabs),
            settings,
            arguments.checkpoints,
            arguments.minutes,
            device,
            arguments.compile,
        ),
    )
