"""Simulate patients of the embedded cohort on the common grid, as perfect preprocessing would leave them.

Writes {registered,stripped,normalised}/{subject}/ as `register`, `strip-skull` and `normalise` do: images in template
space without a bias field, with the true masks and the true brain. For cohorts too large to be preprocessed.
"""

import argparse
import logging
from pathlib import Path

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--subjects", required=True, nargs="+", help="patients of the roster, such as sub-0001")
    parser.add_argument("--contrasts", required=True, nargs="+", help="contrasts of the cohort")
    parser.add_argument("--out", required=True, type=Path, help="the batch's folder to write")
    parser.add_argument("--settings", required=True, help='JSON: {"phantom": ..., "grid": ..., "normalisation": ...}')


def run(arguments: argparse.Namespace) -> None:
    """Simulate the patients and write the folder."""
    from tqdm import tqdm

    from msdiff.cli.normalise import normalise_patient
    from msdiff.images import save
    from msdiff.patients import image_path
    from msdiff.phantom.scans import simulate_aligned
    from msdiff.phantom.settings import PhantomSettings
    from msdiff.preprocess.registration import GridSettings
    from msdiff.settings import Choice, Settings, read
    from msdiff.writing import whole_folder

    class AlignedSettings(Settings):
        phantom: PhantomSettings
        grid: GridSettings
        normalisation: Choice

    settings = read(AlignedSettings, arguments.settings)
    grid = settings.grid.grid()
    sessions = ", ".join(settings.phantom.sessions)
    log.info("simulate %d patients at %s on %d x %d x %d voxels", len(arguments.subjects), sessions, *grid.shape)
    with whole_folder(arguments.out) as folder:
        for subject in tqdm(arguments.subjects, desc="patients", unit="patient", disable=None):
            registered, stripped, normalised = (
                folder / step / subject for step in ("registered", "stripped", "normalised")
            )
            for scan in simulate_aligned(settings.phantom, subject, arguments.contrasts, grid):
                volumes = scan.images | {"lesion_mask": scan.lesion_mask, "enhancing_mask": scan.enhancing_mask}
                if scan.change_mask is not None:
                    volumes["change_mask"] = scan.change_mask
                for name, volume in volumes.items():
                    save(volume, image_path(registered, scan.session, name))
                brain = scan.brain_mask
            save(brain, stripped / "brain_mask.nii.gz")
            normalise_patient(registered, stripped, normalised, settings.normalisation)
    log.info("wrote %s", arguments.out)
