"""Train the SynthSeg network on images painted from label maps; the same command resumes it."""

import argparse

from msdiff.cli.trained import add_training_arguments, write_trained


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_training_arguments(parser)
    parser.add_argument("--settings", required=True, help="JSON: section parcellation.training")


def run(arguments: argparse.Namespace) -> None:
    """Train, or continue from the newest checkpoint, in one process or several."""
    from msdiff.parcellation.learning import ParcellatorSettings
    from msdiff.processes import in_processes
    from msdiff.settings import read

    in_processes(_train, arguments, read(ParcellatorSettings, arguments.settings).training.parts)


def _train(arguments: argparse.Namespace) -> None:
    from msdiff.parcellation.learning import ParcellatorSettings, train_parcellator
    from msdiff.settings import read
    from msdiff.training import processor

    trained, description = train_parcellator(
        read(ParcellatorSettings, arguments.settings),
        arguments.checkpoints,
        arguments.minutes,
        processor(arguments.threads),
    )
    write_trained(arguments, trained.tensors, description, trained.history)
