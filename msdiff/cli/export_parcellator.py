"""Write trained weights of the SynthSeg network as a Keras file with the published layer names, and its description.

With --checkpoints instead of --weights: what an unfinished training has reached.
"""

import argparse
import logging
from pathlib import Path

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--weights", type=Path, help="weights from train-parcellator (safetensors)")
    source.add_argument("--checkpoints", type=Path, help="folder of checkpoints of a training that still runs")
    parser.add_argument("--settings", help="JSON: section parcellation.training; with --checkpoints")
    parser.add_argument("--out", type=Path, required=True, help="Keras weights to write (.h5), and .json beside them")


def run(arguments: argparse.Namespace) -> None:
    """Export."""
    from msdiff.errors import BadInput
    from msdiff.networks.weights import load_weights
    from msdiff.parcellation.keras_weights import export
    from msdiff.parcellation.learning import ParcellatorSettings, unfinished
    from msdiff.settings import read

    if arguments.weights is not None:
        tensors, description = load_weights(arguments.weights)
    elif arguments.settings is None:
        raise BadInput("export-parcellator: expected --settings with --checkpoints; give the training's settings")
    else:
        tensors, description = unfinished(arguments.checkpoints, read(ParcellatorSettings, arguments.settings))
    export(tensors, description, arguments.out)
    log.info("wrote %s, %.1f MB", arguments.out, arguments.out.stat().st_size / 1e6)
