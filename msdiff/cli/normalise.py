"""Bring patients' intensities to [-1, 1], measured on the baseline."""

import argparse
import json
import logging
from pathlib import Path

import numpy as np

from msdiff.cli.patients import add_folders, add_patients_output, patient_folders, write_patients
from msdiff.errors import BadInput
from msdiff.images import Volume, check_grid, load_image, load_mask, save
from msdiff.patients import image_path, patient_images
from msdiff.preprocess.normalisation import normalise
from msdiff.settings import Choice, read

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_folders(parser, "corrected", "stripped")
    parser.add_argument("--settings", required=True, help='JSON: {"backend": ..., "options": ...}')
    add_patients_output(parser, threads=False)


def run(arguments: argparse.Namespace) -> None:
    """Normalise each patient."""
    choice = read(Choice, arguments.settings)
    patients = patient_folders(arguments, "corrected", "stripped")

    def write(subject: str, folder: Path) -> None:
        corrected, stripped = patients[subject]
        normalise_patient(corrected, stripped, folder, choice)

    write_patients(arguments.out, patients, write, arguments.settings)


def normalise_patient(corrected: Path, stripped: Path, out: Path, choice: Choice) -> None:
    """Write each contrast over its sessions to a folder; the first session that has it is its baseline."""
    paths = patient_images(corrected)
    brain = load_mask(stripped / "brain_mask.nii.gz")
    log.info("normalise %s: %d sessions, backend %s", corrected, len(paths), choice.backend)
    contrasts = sorted({contrast for session in paths.values() for contrast in session})
    record = {}
    for contrast in contrasts:
        sessions = {}
        for session, images in paths.items():
            if contrast in images:
                volume = load_image(images[contrast])
                check_grid(brain.grid, volume.grid, str(stripped / "brain_mask.nii.gz"))
                sessions[session] = np.asarray(volume.data, dtype=np.float32)
        try:
            normalised, line = normalise(sessions, np.asarray(brain.data, dtype=np.bool_), contrast, choice)
        except BadInput as error:
            raise BadInput(f"{corrected}: {contrast} of {error}") from error
        record[contrast] = line._asdict()
        for session, data in normalised.items():
            save(Volume(data, brain.affine), image_path(out, session, contrast))
    (out / "normalisation.json").write_text(json.dumps(record, indent=2) + "\n")
