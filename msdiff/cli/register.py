"""Bring patients' scans to one unbiased space each and the common grid; one interpolation in all."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from msdiff.antspy import limit_threads
from msdiff.cli.patients import Row, add_patients_output, add_rows, patients_rows, row_sources, write_patients
from msdiff.errors import BadInput, MsdiffError
from msdiff.images import load_image, load_mask, save
from msdiff.patients import MASKS, image_path
from msdiff.preprocess.registration import RawScan, RegistrationSettings, register_patient, resample_scan
from msdiff.settings import read
from msdiff.spaces import load_itk_affine, save_itk_affine

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_rows(parser)
    parser.add_argument("--contrasts", nargs="+", required=True, help="the first one carries the masks")
    parser.add_argument("--settings", required=True, help='JSON: {"grid": ..., "registration": ...}')
    add_patients_output(parser, threads=True)


def run(arguments: argparse.Namespace) -> None:
    """Register each patient, resample once, write images, masks and maps."""
    settings = read(RegistrationSettings, arguments.settings)
    limit_threads(arguments.threads)
    patients = patients_rows(arguments.patients)
    log.info("register %d patients, backend %s", len(patients), settings.registration.backend)
    columns = [*arguments.contrasts, *MASKS, "change_mask_transform"]
    write_patients(
        arguments.out,
        {subject: row_sources(rows, columns) for subject, rows in patients.items()},
        lambda subject, folder: write_patient(patients[subject], arguments.contrasts, settings, folder),
        arguments.settings,
    )


def write_patient(rows: Sequence[Row], contrasts: Sequence[str], settings: RegistrationSettings, folder: Path) -> None:
    """Register one patient into an empty folder."""
    grid, first = settings.grid.grid(), contrasts[0]
    scans = [load_scan(row, contrasts) for row in rows]
    try:
        maps = register_patient(scans, contrasts, grid, settings.registration)
    except BadInput as error:
        raise BadInput(f"{rows[0]['subject']}: {error}") from error
    for scan, to_images in zip(scans, maps, strict=True):
        for name, volume in resample_scan(scan, to_images, grid, first).items():
            save(volume, image_path(folder, scan.session, name))
        for contrast, matrix in to_images.items():
            save_itk_affine(matrix, folder / f"{scan.session}_{contrast}_to_grid.txt")
    log.info("registered %s: %d sessions", rows[0]["subject"], len(rows))


def load_scan(row: Row, contrasts: Sequence[str]) -> RawScan:
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
