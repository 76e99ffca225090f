"""Bring a patient's scans to one unbiased space and the common grid; one interpolation in all."""

import argparse
import logging
from collections.abc import Sequence

from msdiff.antspy import limit_threads
from msdiff.cli.patient import add_patient_output, patient_rows
from msdiff.errors import BadInput, MsdiffError
from msdiff.images import load_image, load_mask, save
from msdiff.patients import MASKS, image_path
from msdiff.preprocess.registration import RawScan, RegistrationSettings, register_patient, resample_scan
from msdiff.settings import read
from msdiff.spaces import load_itk_affine, save_itk_affine
from msdiff.writing import whole_folder

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--patient", required=True, help="JSON list of the patient's sheet rows, paths resolved")
    parser.add_argument("--contrasts", nargs="+", required=True, help="the first one carries the masks")
    parser.add_argument("--settings", required=True, help='JSON: {"grid": ..., "registration": ...}')
    add_patient_output(parser, threads=True)


def run(arguments: argparse.Namespace) -> None:
    """Register, resample once, write images, masks and maps."""
    settings = read(RegistrationSettings, arguments.settings)
    limit_threads(arguments.threads)
    rows = patient_rows(arguments.patient)
    subject = rows[0]["subject"]
    grid = settings.grid.grid()
    log.info("register %s: %d sessions, backend %s", subject, len(rows), settings.registration.backend)
    scans = [load_scan(row, arguments.contrasts) for row in rows]
    try:
        maps = register_patient(scans, arguments.contrasts, grid, settings.registration)
    except BadInput as error:
        raise BadInput(f"{subject}: {error}") from error
    first = arguments.contrasts[0]
    with whole_folder(arguments.out) as folder:
        for scan, to_images in zip(scans, maps, strict=True):
            for name, volume in resample_scan(scan, to_images, grid, first).items():
                save(volume, image_path(folder, scan.session, name))
            for contrast, matrix in to_images.items():
                save_itk_affine(matrix, folder / f"{scan.session}_{contrast}_to_grid.txt")
    log.info("wrote %s", arguments.out)


def load_scan(row: dict[str, str], contrasts: Sequence[str]) -> RawScan:
    """Read a sheet row's images and masks; empty cells are skipped."""
    try:
        images = {contrast: load_image(row[contrast]) for contrast in contrasts if row.get(contrast, "")}
        change_file = row.get("change_mask_transform", "")
        change_map = load_itk_affine(change_file) if change_file else None
        masks = {}
        for name in MASKS:
            if row.get(name, ""):
                elsewhere = name == "change_mask" and change_map is not None
                grid = None if elsewhere or contrasts[0] not in images else images[contrasts[0]].grid
                masks[name] = load_mask(row[name], grid)
    except MsdiffError as error:
        raise type(error)(f"{row['subject']} {row['session']}: {error}") from error
    return RawScan(row["session"], images, masks, change_map)
