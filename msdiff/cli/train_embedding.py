"""Train the embedding in which copies of a slice lie near it; the same command resumes it."""

import argparse
import logging

from msdiff.cli.stacks import add_stack
from msdiff.cli.trained import add_training_arguments, write_trained

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_stack(parser)
    add_training_arguments(parser)
    parser.add_argument("--settings", required=True, help="JSON: section privacy.embedding, with privacy.slices")


def run(arguments: argparse.Namespace) -> None:
    """Train, or continue from the newest checkpoint; in one process, for a batch is compared with itself."""
    from msdiff.privacy.embedding import EmbeddingSettings, train_embedding
    from msdiff.settings import read
    from msdiff.stack.reading import load_stack
    from msdiff.training import processor

    settings = read(EmbeddingSettings, arguments.settings)
    log.info("training an embedding on the follow-ups of %s", arguments.stack[0])
    trained, description = train_embedding(
        load_stack(*arguments.stack),
        settings,
        checkpoints=arguments.checkpoints,
        minutes=arguments.minutes,
        device=processor(arguments.threads),
    )
    write_trained(arguments, trained.tensors, description, trained.history)
