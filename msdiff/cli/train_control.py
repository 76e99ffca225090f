"""Train the ControlNet of a model of forecasts on a trained prior; the same command resumes it."""

import argparse
import logging
from pathlib import Path

from msdiff.cli.stacks import add_slabs
from msdiff.cli.trained import add_compile_argument, add_training_arguments, write_trained

log = logging.getLogger(__name__)


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
    from msdiff.forecasting.options import TrainControlSettings
    from msdiff.processes import in_processes
    from msdiff.settings import read

    in_processes(_train, arguments, read(TrainControlSettings, arguments.settings).control.training.parts)


def _train(arguments: argparse.Namespace) -> None:
    from msdiff.forecasting.control import train_control
    from msdiff.forecasting.options import TrainControlSettings
    from msdiff.forecasting.slabs import load_slabs
    from msdiff.settings import read
    from msdiff.training import processor

    log.info("training %s on %s, prior %s", arguments.model, arguments.slabs[0], arguments.prior)
    trained = train_control(
        load_slabs(*arguments.slabs),
        read(TrainControlSettings, arguments.settings),
        arguments.model,
        arguments.prior,
        arguments.checkpoints,
        arguments.minutes,
        processor(arguments.threads),
        arguments.compile,
    )
    write_trained(arguments, trained.tensors, trained.description, trained.history)
