"""Measure and picture a patient's scans and what preprocessing made of them; flag what lies outside the limits."""

import argparse
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from msdiff.cli.patient import add_patient_output, patient_rows
from msdiff.images import Grid, check_grid, load_grid, load_image, load_labels, load_mask
from msdiff.patients import image_path, patient_images
from msdiff.preprocess.quality import MEASURED_MASKS, Anatomy, CheckedScan, QualitySettings, flags, measure, score
from msdiff.settings import read
from msdiff.spaces import load_itk_affine
from msdiff.template import load_template, template_brain
from msdiff.writing import whole_folder

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--patient", required=True, help="JSON list of the patient's sheet rows, paths resolved")
    parser.add_argument("--contrasts", nargs="+", required=True, help="the first one is measured and pictured")
    parser.add_argument("--registered", type=Path, required=True, help="the patient's registered folder")
    parser.add_argument("--corrected", type=Path, required=True, help="the patient's bias-corrected folder")
    parser.add_argument("--stripped", type=Path, required=True, help="the folder of the patient's brain mask")
    parser.add_argument("--normalised", type=Path, required=True, help="the patient's normalised folder")
    parser.add_argument("--regions", type=Path, required=True, help="the folder of the patient's regions")
    parser.add_argument("--settings", required=True, help="section preprocess.quality of the config, as JSON")
    add_patient_output(parser, threads=False)


def run(arguments: argparse.Namespace) -> None:
    """Write quality.tsv, one row per session, and a picture of each session."""
    from msdiff.report.imaging.scan_pictures import plot_scan, save_scan

    settings = read(QualitySettings, arguments.settings)
    rows = patient_rows(arguments.patient)
    first = arguments.contrasts[0]
    log.info("check %s: %d sessions", rows[0]["subject"], len(rows))
    brain = load_mask(arguments.stripped / "brain_mask.nii.gz")
    grid = brain.grid
    regions = load_labels(arguments.regions / "regions.nii.gz", grid)
    anatomy = Anatomy(
        grid,
        np.asarray(brain.data, dtype=np.bool_),
        np.asarray(regions.data, dtype=np.int32),
        np.asarray(load_template("t1", grid).data, dtype=np.float32),
        template_brain(grid),
    )
    record = json.loads((arguments.normalised / "normalisation.json").read_text())[first]
    known = patient_images(arguments.normalised)
    before: CheckedScan | None = None
    table: list[dict[str, Any]] = []
    with whole_folder(arguments.out) as folder:
        for row in rows:
            session = row["session"]
            contrasts = [contrast for contrast in arguments.contrasts if contrast in known[session]]
            scan = load_scan(arguments, row, contrasts, record, grid)
            measures = measure(scan, before, anatomy, settings)
            reasons = flags(measures, settings.limits)
            entry = {
                "subject": row["subject"],
                "session": session,
                "contrasts": " ".join(contrasts),
                **measures,
                "score": score(measures, settings.limits),
                "flag": "; ".join(reasons),
            }
            table.append(entry)
            head = load_image(image_path(arguments.registered, session, first))
            save_scan(plot_scan(head, anatomy.brain, anatomy.regions, scan.masks, entry), folder / f"{session}.png")
            before = scan
        pd.DataFrame(table).to_csv(folder / "quality.tsv", sep="\t", index=False)
    log.info("wrote %s: %s", arguments.out, "; ".join(entry["flag"] or "good" for entry in table))


def load_scan(
    arguments: argparse.Namespace, row: dict[str, str], contrasts: list[str], record: dict[str, Any], grid: Grid
) -> CheckedScan:
    """A session's images, masks and maps, from the patient's folders and the raw scans."""
    session, first = row["session"], contrasts[0]
    corrected = load_image(image_path(arguments.corrected, session, first))
    check_grid(corrected.grid, grid, str(arguments.corrected))
    normalised = {
        contrast: np.asarray(load_image(image_path(arguments.normalised, session, contrast)).data, dtype=np.float32)
        for contrast in contrasts
    }
    masks = {}
    for name in MEASURED_MASKS.values():
        path = image_path(arguments.registered, session, name)
        if path.is_file():
            masks[name] = np.asarray(load_mask(path, grid).data, dtype=np.bool_)
    return CheckedScan(
        raw=load_image(row[first]),
        raw_grids={contrast: load_grid(row[contrast]) for contrast in contrasts},
        maps={
            contrast: load_itk_affine(arguments.registered / f"{session}_{contrast}_to_grid.txt")
            for contrast in contrasts
        },
        corrected=corrected,
        normalised=normalised,
        masks=masks,
        gain=float(record["gains"][session]),
        clipped=float(record["clipped_fractions"][session]),
    )
