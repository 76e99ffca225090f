"""What the training commands share: their arguments, their processes, and the writing of weights and history."""

import argparse
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch

    from msdiff.training import Trained

log = logging.getLogger(__name__)


def add_training_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare --checkpoints, --weights, --history, --minutes, --threads and --processes."""
    parser.add_argument("--checkpoints", type=Path, required=True, help="folder of this training's checkpoints")
    parser.add_argument("--weights", type=Path, required=True, help="weights to write (safetensors)")
    parser.add_argument("--history", type=Path, required=True, help="history to write (CSV)")
    parser.add_argument("--minutes", type=float, help="time limit of this process; stops itself before it")
    parser.add_argument(
        "--threads", type=int, required=True, help="threads of the processor to use, all processes together"
    )
    parser.add_argument(
        "--processes",
        type=int,
        default=0,
        help="processes that share each batch; the default, 0, is one per visible accelerator, or one",
    )


def add_compile_argument(parser: argparse.ArgumentParser) -> None:
    """Declare --compile."""
    parser.add_argument(
        "--compile",
        choices=("never", "accelerator", "always"),
        default="never",
        help="compile the network: never, on an accelerator, or on the CPU too; changes rounding only",
    )


class Training(NamedTuple):
    """What a command trains.

    what        for the log
    parts       of a batch, which processes may share; None if the training stays in one process
    start       on a device; reads what it needs
    """

    what: str
    parts: int | None
    start: "Callable[[torch.device], Trained]"


def run_training(prepare: Callable[[argparse.Namespace], Training], arguments: argparse.Namespace) -> None:
    """Train in one process or several, then write the history, and last the weights: with them it is complete.

    `prepare`, a function of a module, is called in every process.
    """
    from msdiff.processes import in_processes

    parts = prepare(arguments).parts
    asked = argparse.Namespace(**vars(arguments), prepare=prepare)
    if parts is None:
        _work(asked)
    else:
        in_processes(_work, asked, parts)


def _work(arguments: argparse.Namespace) -> None:
    from msdiff import processes
    from msdiff.networks.weights import save_weights, sha256
    from msdiff.training import processor
    from msdiff.writing import whole_file, whole_folder

    training = arguments.prepare(arguments)
    log.info("training %s", training.what)
    trained = training.start(processor(arguments.threads))
    if processes.rank() > 0:
        return
    if getattr(arguments, "previews", None) is not None:
        with whole_folder(arguments.previews) as temporary:
            for picture in sorted(trained.previews.glob("*.png")) if trained.previews else ():
                shutil.copy(picture, temporary)
    with whole_file(arguments.history) as temporary:
        trained.history.to_csv(temporary, index=False)
    save_weights(trained.tensors, trained.description, arguments.weights)
    log.info("wrote %s (sha256 %s) and %s", arguments.weights, sha256(arguments.weights), arguments.history)
