"""What the training commands share: where checkpoints, weights and history go, and the writing of the last two."""

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

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
        help="compile the network: never, where an accelerator trains, or on the CPU too; changes rounding only",
    )


def write_trained(
    arguments: argparse.Namespace, tensors: "dict[str, Tensor]", description: dict[str, Any], history: "pd.DataFrame"
) -> None:
    """Write the history, then the weights: where they are, the training is complete. The first process does."""
    from msdiff import processes
    from msdiff.networks.weights import save_weights, sha256
    from msdiff.writing import whole_file

    if processes.rank() > 0:
        return
    with whole_file(arguments.history) as temporary:
        history.to_csv(temporary, index=False)
    save_weights(tensors, description, arguments.weights)
    log.info("wrote %s (sha256 %s) and %s", arguments.weights, sha256(arguments.weights), arguments.history)
