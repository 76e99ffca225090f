"""Find the brain in a patient's scans: one mask, on which at least half of the sessions agree."""

import argparse
import logging

from msdiff.antspy import limit_threads
from msdiff.cli.patient import add_patient_output
from msdiff.images import load_image, save
from msdiff.patients import patient_images
from msdiff.preprocess.skull_stripping import strip_skull
from msdiff.settings import Choice, read
from msdiff.writing import whole_folder

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--corrected", required=True, help="the patient's bias-corrected folder")
    parser.add_argument("--settings", required=True, help='JSON: {"backend": ..., "options": ...}')
    add_patient_output(parser, threads=True)


def run(arguments: argparse.Namespace) -> None:
    """Strip every session and write brain_mask.nii.gz."""
    choice = read(Choice, arguments.settings)
    limit_threads(arguments.threads)
    paths = patient_images(arguments.corrected)
    log.info("strip skull of %s: %d sessions, backend %s", arguments.corrected, len(paths), choice.backend)
    sessions = [{name: load_image(path) for name, path in contrasts.items()} for contrasts in paths.values()]
    brain = strip_skull(sessions, choice, arguments.corrected)
    with whole_folder(arguments.out) as folder:
        save(brain, folder / "brain_mask.nii.gz")
    log.info("wrote %s: %.0f ml", arguments.out, brain.data.sum() * brain.grid.voxel_volume_mm3 / 1000)
