"""Find the brain in patients' scans: one mask each, on which at least half of the sessions agree."""

import argparse
import logging
from pathlib import Path

import numpy as np

from msdiff.antspy import limit_threads
from msdiff.cli.patients import add_folders, add_patients_output, patient_folders, write_patients
from msdiff.images import load_image, load_mask, save
from msdiff.patients import image_path, patient_images
from msdiff.preprocess.skull_stripping import Session, strip_skull
from msdiff.settings import Choice, read

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_folders(parser, "registered", "corrected")
    parser.add_argument("--settings", required=True, help='JSON: {"backend": ..., "options": ...}')
    add_patients_output(parser, threads=True)


def run(arguments: argparse.Namespace) -> None:
    """Strip every session and write brain_mask.nii.gz of each patient."""
    choice = read(Choice, arguments.settings)
    limit_threads(arguments.threads)
    patients = patient_folders(arguments, "registered", "corrected")
    log.info("strip the skull of %d patients, backend %s", len(patients), choice.backend)

    def write(subject: str, folder: Path) -> None:
        registered, corrected = patients[subject]
        sessions = {name: load_session(registered, corrected, name) for name in patient_images(corrected)}
        brain = strip_skull(sessions, choice, arguments.threads, str(corrected))
        save(brain, folder / "brain_mask.nii.gz")
        log.info("%s: %.0f ml", subject, brain.data.sum() * brain.grid.voxel_volume_mm3 / 1000)

    write_patients(arguments.out, patients, write, arguments.settings)


def load_session(registered: Path, corrected: Path, name: str) -> Session:
    """A session's images from a patient's registered and corrected folders, and its brain mask where it has one."""
    before, after = (
        {contrast: load_image(path) for contrast, path in patient_images(folder)[name].items()}
        for folder in (registered, corrected)
    )
    given = image_path(registered, name, "brain_mask")
    grid = next(iter(before.values())).grid
    brain = np.asarray(load_mask(given, grid).data, dtype=np.bool_) if given.is_file() else None
    return Session(before, after, brain)
