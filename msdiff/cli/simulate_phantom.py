"""Simulate patients of the embedded cohort: raw scans of every session, with ground truth.

Writes a folder per patient, with {session}_{contrast}.nii.gz, {session}_{contrast}_to_head.txt (ITK affine that
resamples the image onto the patient's head space: head points to image points, LPS mm), and, on the grid of the first
contrast, {session}_{lesion_mask,change_mask,enhancing_mask,brain_mask}.nii.gz and {session}_tissue.nii.gz (1 CSF,
2 grey matter, 3 white matter).
"""

import argparse
import logging
from pathlib import Path

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from msdiff.cli.patients import add_patients_output

    parser.add_argument("--subjects", required=True, nargs="+", help="patients of the roster, such as sub-0001")
    parser.add_argument("--contrasts", required=True, nargs="+", help="contrasts; masks lie on the first one's grid")
    parser.add_argument("--settings", required=True, help="the phantom's settings as JSON")
    add_patients_output(parser, threads=False)


def run(arguments: argparse.Namespace) -> None:
    """Simulate each patient and write the folder."""
    from msdiff.cli.patients import write_patients
    from msdiff.images import save
    from msdiff.phantom.scans import simulate_scans
    from msdiff.phantom.settings import PhantomSettings
    from msdiff.settings import read
    from msdiff.spaces import save_itk_affine

    settings = read(PhantomSettings, arguments.settings, "phantom")
    log.info("simulate %d patients: %s at %s", len(arguments.subjects), arguments.contrasts, list(settings.sessions))

    def write(subject: str, folder: Path) -> None:
        for scan in simulate_scans(settings, subject, arguments.contrasts):
            volumes = scan.images | {
                "lesion_mask": scan.lesion_mask,
                "enhancing_mask": scan.enhancing_mask,
                "brain_mask": scan.brain_mask,
                "tissue": scan.tissue,
            }
            if scan.change_mask is not None:
                volumes["change_mask"] = scan.change_mask
            for name, volume in volumes.items():
                save(volume, folder / f"{scan.session}_{name}.nii.gz")
            for contrast, affine in scan.to_head.items():
                save_itk_affine(affine, folder / f"{scan.session}_{contrast}_to_head.txt")

    sources = {subject: [*arguments.contrasts] for subject in arguments.subjects}
    write_patients(arguments.out, sources, write, arguments.settings)
