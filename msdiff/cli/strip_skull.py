"""Find the brain in a patient's scans: one mask, on which at least half of the sessions agree."""

import argparse
import logging

import numpy as np

from msdiff.antspy import limit_threads
from msdiff.cli.patient import add_patient_output
from msdiff.images import load_image, load_mask, save
from msdiff.patients import image_path, patient_images
from msdiff.preprocess.skull_stripping import Session, strip_skull
from msdiff.settings import Choice, read
from msdiff.writing import whole_folder

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--registered", required=True, help="the patient's registered folder, with masks")
    parser.add_argument("--corrected", required=True, help="the patient's bias-corrected folder")
    parser.add_argument("--settings", required=True, help='JSON: {"backend": ..., "options": ...}')
    add_patient_output(parser, threads=True)


def run(arguments: argparse.Namespace) -> None:
    """Strip every session and write brain_mask.nii.gz."""
    choice = read(Choice, arguments.settings)
    limit_threads(arguments.threads)
    names = list(patient_images(arguments.corrected))
    log.info("strip skull of %s: %d sessions, backend %s", arguments.corrected, len(names), choice.backend)
    sessions = {name: load_session(arguments.registered, arguments.corrected, name) for name in names}
    brain = strip_skull(sessions, choice, arguments.threads, arguments.corrected)
    with whole_folder(arguments.out) as folder:
        save(brain, folder / "brain_mask.nii.gz")
    log.info("wrote %s: %.0f ml", arguments.out, brain.data.sum() * brain.grid.voxel_volume_mm3 / 1000)


def load_session(registered: str, corrected: str, name: str) -> Session:
    """A session's images from a patient's registered and corrected folders, and its brain mask where it has one."""
    before, after = (
        {contrast: load_image(path) for contrast, path in patient_images(folder)[name].items()}
        for folder in (registered, corrected)
    )
    given = image_path(registered, name, "brain_mask")
    grid = next(iter(before.values())).grid
    brain = np.asarray(load_mask(given, grid).data, dtype=np.bool_) if given.is_file() else None
    return Session(before, after, brain)
