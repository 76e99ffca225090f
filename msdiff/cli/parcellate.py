"""Label the brain regions of a patient, on the baseline."""

import argparse
import logging

import numpy as np

from msdiff.antspy import limit_threads
from msdiff.cli.patient import add_patient_output
from msdiff.images import load_image, load_mask, save
from msdiff.parcellation.regions import parcellate, volumes
from msdiff.patients import patient_images
from msdiff.settings import Choice, read
from msdiff.writing import whole_folder

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--normalised", required=True, help="the patient's normalised folder")
    parser.add_argument("--stripped", required=True, help="the folder of the patient's brain mask")
    parser.add_argument("--settings", required=True, help='JSON: {"backend": ..., "options": ...}')
    add_patient_output(parser, threads=True)


def run(arguments: argparse.Namespace) -> None:
    """Write regions.nii.gz and volumes.tsv."""
    choice = read(Choice, arguments.settings)
    limit_threads(arguments.threads)
    session, paths = next(iter(patient_images(arguments.normalised).items()))
    log.info("parcellate %s: %s, backend %s", arguments.normalised, session, choice.backend)
    images = {contrast: load_image(path) for contrast, path in paths.items()}
    grid = next(iter(images.values())).grid
    brain = load_mask(f"{arguments.stripped}/brain_mask.nii.gz", grid)
    labels = parcellate(images, np.asarray(brain.data, dtype=np.bool_), choice)
    with whole_folder(arguments.out) as folder:
        save(labels, folder / "regions.nii.gz")
        volumes(labels).to_csv(folder / "volumes.tsv", sep="\t", index=False)
    log.info("wrote %s", arguments.out)
