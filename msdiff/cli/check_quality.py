"""Measure and picture patients' scans and what preprocessing made of them; flag what lies outside the limits."""

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from msdiff.cli.patients import (
    Row,
    add_folders,
    add_patients_output,
    add_rows,
    patient_folders,
    patients_rows,
    row_sources,
    write_patients,
)
from msdiff.errors import BadInput
from msdiff.images import Grid, check_grid, load_grid, load_image, load_labels, load_mask
from msdiff.patients import image_path, patient_images
from msdiff.preprocess.quality import MEASURED_MASKS, Anatomy, CheckedScan, QualitySettings, flags, measure, score
from msdiff.settings import read
from msdiff.spaces import load_itk_affine
from msdiff.template import load_template, template_brain

log = logging.getLogger(__name__)


class QualityFolders(NamedTuple):
    """A patient's folders of all steps before this one."""

    registered: Path
    corrected: Path
    stripped: Path
    normalised: Path
    regions: Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_rows(parser)
    parser.add_argument("--contrasts", nargs="+", required=True, help="the first one is measured and pictured")
    add_folders(parser, *QualityFolders._fields)
    parser.add_argument("--settings", required=True, help="section preprocess.quality of the config, as JSON")
    add_patients_output(parser, threads=False)


def run(arguments: argparse.Namespace) -> None:
    """Write quality.tsv of each patient, one row per session, and a picture of each session."""
    settings = read(QualitySettings, arguments.settings)
    rows = patients_rows(arguments.patients)
    patients = {
        name: QualityFolders(*each) for name, each in patient_folders(arguments, *QualityFolders._fields).items()
    }
    if set(patients) != set(rows):
        raise BadInput(f"--patients: expected the rows of {', '.join(patients)}, got those of {', '.join(rows)}")
    log.info("check %d patients", len(patients))
    write_patients(
        arguments.out,
        {subject: [*row_sources(rows[subject], arguments.contrasts), *patients[subject]] for subject in patients},
        lambda subject, folder: write_patient(rows[subject], arguments.contrasts, patients[subject], settings, folder),
        arguments.settings,
    )


def write_patient(
    rows: Sequence[Row], contrasts: Sequence[str], folders: QualityFolders, settings: QualitySettings, out: Path
) -> None:
    """Measure and picture one patient's sessions."""
    from msdiff.report.imaging.scan_pictures import plot_scan, save_scan

    first = contrasts[0]
    brain = load_mask(folders.stripped / "brain_mask.nii.gz")
    grid = brain.grid
    regions = load_labels(folders.regions / "regions.nii.gz", grid)
    anatomy = Anatomy(
        grid,
        np.asarray(brain.data, dtype=np.bool_),
        np.asarray(regions.data, dtype=np.int32),
        np.asarray(load_template("t1", grid).data, dtype=np.float32),
        template_brain(grid),
    )
    record = json.loads((folders.normalised / "normalisation.json").read_text())[first]
    known = patient_images(folders.normalised)
    before: CheckedScan | None = None
    table: list[dict[str, Any]] = []
    for row in rows:
        session = row["session"]
        acquired = [contrast for contrast in contrasts if contrast in known[session]]
        scan = load_scan(folders, row, acquired, record, grid)
        measures = measure(scan, before, anatomy, settings)
        reasons = flags(measures, settings.limits)
        entry = {
            "subject": row["subject"],
            "session": session,
            "contrasts": " ".join(acquired),
            **measures,
            "score": score(measures, settings.limits),
            "flag": "; ".join(reasons),
        }
        table.append(entry)
        head = load_image(image_path(folders.registered, session, first))
        save_scan(plot_scan(head, anatomy.brain, anatomy.regions, scan.masks, entry), out / f"{session}.png")
        before = scan
    pd.DataFrame(table).to_csv(out / "quality.tsv", sep="\t", index=False)
    log.info("%s: %s", rows[0]["subject"], "; ".join(entry["flag"] or "good" for entry in table))


def load_scan(
    folders: QualityFolders, row: Row, contrasts: list[str], record: dict[str, Any], grid: Grid
) -> CheckedScan:
    """A session's images, masks and maps, from the patient's folders and the raw scans."""
    session, first = row["session"], contrasts[0]
    corrected = load_image(image_path(folders.corrected, session, first))
    check_grid(corrected.grid, grid, str(folders.corrected))
    normalised = {
        contrast: np.asarray(load_image(image_path(folders.normalised, session, contrast)).data, dtype=np.float32)
        for contrast in contrasts
    }
    masks = {}
    for name in MEASURED_MASKS.values():
        path = image_path(folders.registered, session, name)
        if path.is_file():
            masks[name] = np.asarray(load_mask(path, grid).data, dtype=np.bool_)
    return CheckedScan(
        raw=load_image(row[first]),
        raw_grids={contrast: load_grid(row[contrast]) for contrast in contrasts},
        maps={
            contrast: load_itk_affine(folders.registered / f"{session}_{contrast}_to_grid.txt")
            for contrast in contrasts
        },
        corrected=corrected,
        normalised=normalised,
        masks=masks,
        gain=float(record["gains"][session]),
        clipped=float(record["clipped_fractions"][session]),
    )
