"""Arguments that the imaging commands share: one patient's sheet rows, and the folder that is written."""

import argparse
import json

from msdiff.errors import BadInput


def add_patient_output(parser: argparse.ArgumentParser, *, threads: bool) -> None:
    """Declare --out, and --threads where the command can use them."""
    parser.add_argument("--out", required=True, help="the patient's folder to write")
    if threads:
        parser.add_argument("--threads", type=int, required=True, help="results are equal to the bit with 1 only")


def patient_rows(text: str) -> list[dict[str, str]]:
    """The sheet rows of one patient, from a JSON list, in order of their sessions."""
    try:
        rows = json.loads(text)
        rows = sorted(
            ({str(key): str(value) for key, value in row.items()} for row in rows), key=lambda row: row["session"]
        )
        subjects = {row["subject"] for row in rows}
    except (json.JSONDecodeError, AttributeError, KeyError, TypeError) as error:
        raise BadInput(f"--patient: expected a JSON list of sheet rows, got {text[:60]!r} ({error})") from error
    if len(subjects) != 1 or len({row["session"] for row in rows}) != len(rows):
        raise BadInput(
            f"--patient: expected distinct sessions of one subject, got {len(rows)} rows of {sorted(subjects)}"
        )
    return rows
