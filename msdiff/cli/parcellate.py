"""Label the brain regions of patients, on their baselines."""

import argparse
import logging
from pathlib import Path

import numpy as np
from tqdm import tqdm

from msdiff.cli.patients import add_folders, add_patients_output, patient_folders
from msdiff.images import load_image, load_mask, save
from msdiff.parcellation.regions import MniScan, ParcellationSettings, parcellate, volumes
from msdiff.patients import image_path, patient_images
from msdiff.settings import read
from msdiff.writing import whole_folder

log = logging.getLogger(__name__)

FOLDERS = ("normalised", "corrected", "stripped")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_folders(parser, *FOLDERS)
    parser.add_argument("--settings", required=True, help='JSON: {"backend": ..., "options": ..., "limits": ...}')
    add_patients_output(parser, threads=True)


def run(arguments: argparse.Namespace) -> None:
    """Write {subject}/regions.nii.gz and {subject}/volumes.tsv of every patient."""
    settings = read(ParcellationSettings, arguments.settings)
    patients = patient_folders(arguments, *FOLDERS)
    log.info("parcellate %d patients, backend %s", len(patients), settings.backend)
    with whole_folder(arguments.out) as out:
        scans = (read_scan(*patient) for patient in patients.values())
        progress = tqdm(total=len(patients), desc="patients", unit="patient", disable=None)
        for subject, labels in parcellate(scans, settings, arguments.threads):
            save(labels, out / subject / "regions.nii.gz")
            table = volumes(labels)
            table.to_csv(out / subject / "volumes.tsv", sep="\t", index=False)
            log.info("%s: %d regions, %.0f ml", subject, len(table), table["volume_mm3"].sum() / 1000)
            progress.update()
    log.info("wrote %s", arguments.out)


def read_scan(normalised: Path, corrected: Path, stripped: Path) -> tuple[str, MniScan]:
    """A patient's name and baseline."""
    session, paths = next(iter(patient_images(normalised).items()))
    images = {contrast: load_image(path) for contrast, path in paths.items()}
    heads = {contrast: load_image(image_path(corrected, session, contrast)) for contrast in images}
    brain = load_mask(stripped / "brain_mask.nii.gz", next(iter(images.values())).grid)
    return normalised.name, MniScan(images, heads, np.asarray(brain.data, dtype=np.bool_))
