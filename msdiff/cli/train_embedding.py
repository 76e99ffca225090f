"""Train the embedding in which copies of a slice lie near it; the same command resumes it."""

import argparse

from msdiff.cli.stacks import add_stack
from msdiff.cli.trained import Training, add_training_arguments, run_training


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_stack(parser)
    add_training_arguments(parser)
    parser.add_argument("--settings", required=True, help="JSON: section privacy.embedding, with privacy.slices")


def run(arguments: argparse.Namespace) -> None:
    """Train, or continue from the newest checkpoint, in one process: a batch is compared with itself."""
    run_training(_training, arguments)


def _training(arguments: argparse.Namespace) -> Training:
    from msdiff.privacy.embedding import EmbeddingSettings, train_embedding
    from msdiff.settings import read
    from msdiff.stack.reading import load_stack

    settings = read(EmbeddingSettings, arguments.settings)
    return Training(
        f"an embedding on the follow-ups of {arguments.stack[0]}",
        None,
        lambda device: train_embedding(
            load_stack(*arguments.stack),
            settings,
            checkpoints=arguments.checkpoints,
            minutes=arguments.minutes,
            device=device,
        ),
    )
