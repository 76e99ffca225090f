"""Train the prior of forecasts, NET2 masks by treatment, on the training split; the same command resumes it."""

import argparse
import logging

from msdiff.cli.stacks import add_slabs
from msdiff.cli.trained import add_compile_argument, add_training_arguments, write_trained

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_slabs(parser)
    add_training_arguments(parser)
    add_compile_argument(parser)
    parser.add_argument("--settings", required=True, help='JSON: {"network": ..., "prior": ...}')


def run(arguments: argparse.Namespace) -> None:
    """Train, or continue from the newest checkpoint, in one process or several."""
    from msdiff.forecasting.options import TrainPriorSettings
    from msdiff.processes import in_processes
    from msdiff.settings import read

    in_processes(_train, arguments, read(TrainPriorSettings, arguments.settings).prior.training.parts)


def _train(arguments: argparse.Namespace) -> None:
    from msdiff.forecasting.options import TrainPriorSettings
    from msdiff.forecasting.prior import train_prior
    from msdiff.forecasting.slabs import load_slabs
    from msdiff.settings import read
    from msdiff.training import processor

    log.info("training the prior on %s", arguments.slabs[0])
    trained = train_prior(
        load_slabs(*arguments.slabs),
        read(TrainPriorSettings, arguments.settings),
        arguments.checkpoints,
        arguments.minutes,
        processor(arguments.threads),
        arguments.compile,
    )
    write_trained(arguments, trained.tensors, trained.description, trained.history)
