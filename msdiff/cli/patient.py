"""Arguments that the imaging commands share: they read and write one patient's folder."""

import argparse


def add_patient_output(parser: argparse.ArgumentParser, *, threads: bool) -> None:
    """Declare --out, and --threads where the command can use them."""
    parser.add_argument("--out", required=True, help="the patient's folder to write")
    if threads:
        parser.add_argument("--threads", type=int, required=True, help="results are equal to the bit with 1 only")
