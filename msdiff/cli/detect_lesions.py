"""Find new lesions in the patients of a split and score them: voxel by voxel and lesion by lesion."""

import argparse
import logging
from pathlib import Path

from msdiff.cli.named import add_keys_argument, keys_of
from msdiff.cli.stacks import add_stack

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_stack(parser)
    parser.add_argument("--weights", type=Path, required=True, help="weights of a detector")
    parser.add_argument("--slices", type=Path, required=True, help="list of slices that the detector was trained on")
    add_keys_argument(parser)
    parser.add_argument("--split", required=True, help="train, validation or test")
    parser.add_argument("--out", type=Path, required=True, help="folder of scores to write")
    parser.add_argument("--threads", type=int, required=True, help="threads of the processor to use")
    parser.add_argument("--settings", required=True, help="JSON: detection.scoring")


def run(arguments: argparse.Namespace) -> None:
    """Predict every slice of the split's pairs, and score the volumes."""
    from functools import partial

    from msdiff.detection.detectors import change_probability
    from msdiff.detection.mixes import load_mix
    from msdiff.detection.scoring import DetectionSettings, detect_lesions, save_scores
    from msdiff.networks.detectors import load_detector
    from msdiff.settings import read
    from msdiff.stack.reading import load_stack
    from msdiff.training import processor

    settings = read(DetectionSettings, arguments.settings)
    stack = load_stack(*arguments.stack)
    network, contrast = load_detector(arguments.weights)
    network.to(processor(arguments.threads))
    scores = detect_lesions(stack, arguments.split, partial(change_probability, network), contrast, settings)
    synthetic = load_mix(arguments.slices)["kind"] == "synthetic"
    keys = {**keys_of(arguments), "n_real": (~synthetic).sum(), "n_synthetic": synthetic.sum()}
    save_scores(scores._replace(patients=scores.patients.assign(**keys)), stack, arguments.out)
    found, true = scores.patients[["correct", "true_lesions"]].sum()
    wrong = scores.patients["false_positives"].sum()
    log.info("wrote %s: %d of %d true lesions found, %d false positives", arguments.out, found, true, wrong)
