"""Remove the bias field of a patient's scans."""

import argparse
import logging

from msdiff.antspy import limit_threads
from msdiff.cli.patient import add_patient_output
from msdiff.images import load_image, save
from msdiff.patients import patient_images
from msdiff.preprocess.bias import correct_bias
from msdiff.settings import Choice, read
from msdiff.writing import whole_folder

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--registered", required=True, help="the patient's registered folder")
    parser.add_argument("--settings", required=True, help='JSON: {"backend": ..., "options": ...}')
    add_patient_output(parser, threads=True)


def run(arguments: argparse.Namespace) -> None:
    """Correct each image of each session; masks stay in the registered folder."""
    choice = read(Choice, arguments.settings)
    limit_threads(arguments.threads)
    images = patient_images(arguments.registered)
    log.info("correct bias of %s: %d sessions, backend %s", arguments.registered, len(images), choice.backend)
    with whole_folder(arguments.out) as folder:
        for contrasts in images.values():
            for path in contrasts.values():
                save(correct_bias(load_image(path), choice), folder / path.name)
    log.info("wrote %s", arguments.out)
