"""What the imaging commands share: several patients to a process, each with a folder of its own.

A patient who fails does not take the others along: their folders are kept beside the output, and the next attempt makes
only the folders that are missing, or whose inputs or settings have changed.
"""

import argparse
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from msdiff.errors import BadInput
from msdiff.writing import whole_folder

log = logging.getLogger(__name__)

FOLDERS = {
    "registered": "the patients' registered folders",
    "corrected": "the patients' bias-corrected folders",
    "stripped": "the folders of the patients' brain masks",
    "normalised": "the patients' normalised folders",
    "regions": "the folders of the patients' regions",
}
Row = dict[str, str]


def add_folders(parser: argparse.ArgumentParser, *names: str) -> None:
    """Declare an option of patients' folders for each name of FOLDERS."""
    for name in names:
        text = f"{FOLDERS[name]}, in the same order" if name != names[0] else FOLDERS[name]
        parser.add_argument(f"--{name}", required=True, nargs="+", type=Path, metavar="DIR", help=text)


def add_patients_output(parser: argparse.ArgumentParser, *, threads: bool) -> None:
    """Declare --out, and --threads where the command can use them."""
    parser.add_argument("--out", required=True, type=Path, help="folder to write; it holds a folder per patient")
    if threads:
        parser.add_argument("--threads", type=int, required=True, help="results are equal to the bit with 1 only")


def add_rows(parser: argparse.ArgumentParser) -> None:
    """Declare --patients."""
    parser.add_argument("--patients", required=True, help="JSON list of the patients' sheet rows, paths resolved")


def patient_folders(arguments: argparse.Namespace, *names: str) -> dict[str, tuple[Path, ...]]:
    """Each patient's folders, one per option; the folders' names are the patients'.

    Raises BadInput where the options name other patients, or one twice.
    """
    folders: list[list[Path]] = [getattr(arguments, name) for name in names]
    subjects = [[folder.name for folder in each] for each in folders]
    if subjects.count(subjects[0]) < len(subjects) or len(set(subjects[0])) < len(subjects[0]):
        raise BadInput(f"expected the same patients, each once, under {', '.join(names)}; got {subjects}")
    return {each[0].name: each for each in zip(*folders, strict=True)}


def patients_rows(text: str) -> dict[str, list[Row]]:
    """The sheet rows of each patient, from a JSON list, in order of their sessions.

    Raises BadInput where the text is no such list, or a session comes twice.
    """
    patients: dict[str, list[Row]] = {}
    try:
        for row in json.loads(text):
            scan = {str(key): str(value) for key, value in row.items()}
            patients.setdefault(scan["subject"], []).append(scan)
        patients = {subject: sorted(rows, key=lambda row: row["session"]) for subject, rows in patients.items()}
    except (json.JSONDecodeError, AttributeError, KeyError, TypeError) as error:
        raise BadInput(f"--patients: expected a JSON list of sheet rows, got {text[:60]!r} ({error})") from error
    for subject, rows in patients.items():
        if len({row["session"] for row in rows}) != len(rows):
            raise BadInput(f"--patients: expected distinct sessions of {subject}, got one twice in {len(rows)} rows")
    if not patients:
        raise BadInput("--patients: expected a JSON list of sheet rows, got an empty one")
    return patients


def row_sources(rows: Sequence[Row], columns: Sequence[str]) -> list[str | Path]:
    """What a patient's folder is made from, as `write_patients` takes it: the rows, and the files that they name."""
    files = {row[column] for row in rows for column in columns if row.get(column)}
    return [json.dumps(rows), *(Path(file) for file in sorted(files))]


def write_patients(
    out: Path, sources: Mapping[str, Sequence[str | Path]], write: Callable[[str, Path], None], settings: str
) -> None:
    """Write a folder that holds a folder per patient, all of them or none.

    Parameters
    ----------
    sources
        By patient, what the folder is made from: texts, files and folders.
    write
        Writes a patient's files into an empty folder.
    settings
        The command's settings; with other ones nothing that was kept counts.

    Raises
    ------
    BadInput
        Where patients fail, once all have been tried: it names them. The others' folders are kept for the next attempt.
    """
    unfinished = out.with_name(f".{out.name}.unfinished")
    kept, failed = {}, {}
    for subject, parts in tqdm(sources.items(), desc="patients", unit="patient", disable=None):
        kept[subject] = unfinished / f"{subject}-{_digest(settings, *parts)}"
        if kept[subject].is_dir():
            log.info("%s: kept from an earlier attempt", subject)
            continue
        try:
            with whole_folder(kept[subject]) as folder:
                write(subject, folder)
        except BadInput as error:
            failed[subject] = error
    if failed:
        if len(sources) == 1:
            raise next(iter(failed.values()))
        reasons = "; ".join(f"{subject}: {error}" for subject, error in failed.items())
        raise BadInput(f"{len(failed)} of {len(sources)} patients failed, the others are kept: {reasons}")
    with whole_folder(out) as folder:
        for subject, done in kept.items():
            os.replace(done, folder / subject)
    shutil.rmtree(unfinished)
    log.info("wrote %s: %d patients", out, len(kept))


def _digest(*parts: str | Path) -> str:
    """Of texts, and of the names, sizes and times of files and of what folders hold."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{part}\n".encode())
        if isinstance(part, Path):
            for path in sorted(part.iterdir()) if part.is_dir() else [part]:
                known = path.stat() if path.exists() else None
                digest.update(f"{path.name} {known and (known.st_size, known.st_mtime_ns)}\n".encode())
    return digest.hexdigest()[:16]
