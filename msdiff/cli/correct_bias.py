"""Remove the bias field of patients' scans."""

import argparse
import logging
from pathlib import Path

from msdiff.antspy import limit_threads
from msdiff.cli.patients import add_folders, add_patients_output, patient_folders, write_patients
from msdiff.images import load_image, save
from msdiff.patients import patient_images
from msdiff.preprocess.bias import correct_bias
from msdiff.settings import Choice, read

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_folders(parser, "registered")
    parser.add_argument("--settings", required=True, help='JSON: {"backend": ..., "options": ...}')
    add_patients_output(parser, threads=True)


def run(arguments: argparse.Namespace) -> None:
    """Correct each image of each session; masks stay in the registered folders."""
    choice = read(Choice, arguments.settings)
    limit_threads(arguments.threads)
    patients = patient_folders(arguments, "registered")
    log.info("correct the bias of %d patients, backend %s", len(patients), choice.backend)

    def write(subject: str, folder: Path) -> None:
        for contrasts in patient_images(*patients[subject]).values():
            for path in contrasts.values():
                save(correct_bias(load_image(path), choice), folder / path.name)

    write_patients(arguments.out, patients, write, arguments.settings)
