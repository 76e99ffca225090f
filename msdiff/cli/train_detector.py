"""Train a detector of new lesions on a list of real and synthetic slices; the same command resumes it."""

import argparse
import logging
from pathlib import Path

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--stack", type=Path, required=True, help="stack of the cohort's scans")
    parser.add_argument("--slices", type=Path, required=True, help="list of training slices, from mix-slices")
    parser.add_argument("--checkpoints", type=Path, required=True, help="folder of this training's checkpoints")
    parser.add_argument("--weights", type=Path, required=True, help="weights to write (safetensors)")
    parser.add_argument("--history", type=Path, required=True, help="history to write (CSV)")
    parser.add_argument("--seed", type=int, required=True, help="seed of weights, order, augmentation and dropout")
    parser.add_argument("--minutes", type=float, help="time limit of this process; stops itself before it")
    parser.add_argument("--threads", type=int, required=True, help="threads of the processor to use")
    parser.add_argument("--settings", required=True, help="JSON: one section of segmentation.detectors")


def run(arguments: argparse.Namespace) -> None:
    """Train, or continue from the newest checkpoint."""
    import torch

    from msdiff.cohort.stacks import load_stack
    from msdiff.networks.weights import save_weights, sha256
    from msdiff.segmentation.detectors import DetectorSettings, train_detector
    from msdiff.segmentation.mixes import load_mix
    from msdiff.settings import read
    from msdiff.writing import whole_file

    settings = read(DetectorSettings, arguments.settings)
    torch.set_num_threads(arguments.threads)
    log.info("training %s on %s of %s", settings.architecture, arguments.slices, arguments.stack)
    trained, description = train_detector(
        load_stack(arguments.stack),
        load_mix(arguments.slices),
        settings,
        seed=arguments.seed,
        checkpoints=arguments.checkpoints,
        minutes=arguments.minutes,
        device="cuda" if torch.cuda.is_available() else "cpu",
    )
    with whole_file(arguments.history) as temporary:
        trained.history.to_csv(temporary, index=False)
    # Weights last: where they are, the training is complete.
    save_weights(trained.tensors, description, arguments.weights)
    log.info("wrote %s (sha256 %s) and %s", arguments.weights, sha256(arguments.weights), arguments.history)
