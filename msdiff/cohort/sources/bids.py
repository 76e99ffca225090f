"""Data sets in the Brain Imaging Data Structure (BIDS), raw or derivative.

Images: `sub-01/[ses-M12/]anat/sub-01_[ses-M12_]FLAIR.nii.gz`, `_T1w`, `_T2w`, `_PDw`, and `_ce-gadolinium_T1w`. Masks:
`_mask` files with the label or description of lesions, enhancing ones or the brain, under `derivatives/*/` or beside
the images.
Days: column `days`, or `acq_time`, of `sub-01_sessions.tsv`, else `acq_time` of `sub-01_ses-M12_scans.tsv`.
"""

import logging
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from msdiff.cohort.sources.folders import EXTENSIONS, find_folders, natural, regular_days
from msdiff.errors import BadInput
from msdiff.images import check_grid, load_grid

SUFFIXES = {"flair": "FLAIR", "t1w": "T1w", "t2w": "T2w", "t1ce": "T1w", "pdw": "PDw"}
# BIDS reserves the label L for lesions; most data sets write the word.
MASK_WORDS = {
    "lesion_mask": {"l", "lesion", "lesions"},
    "enhancing_mask": {"enhancing", "enhancinglesion", "enhancinglesions"},
    "brain_mask": {"brain"},
}
ONLY_SESSION = "1"

log = logging.getLogger(__name__)


class File(NamedTuple):
    """A file, its entities (`{"ses": "M12", "run": "1"}`) and its suffix."""

    path: Path
    entities: dict[str, str]
    suffix: str


def index_bids(root: Path, interval_days: int | None = None, arm_column: str | None = None) -> pd.DataFrame:
    """Scans of all subjects; `root` is a raw data set, or a pipeline's folder under its derivatives.

    Sessions without FLAIR are left out, and masks that do not lie on its grid. Of several runs the first by name is
    taken. Sessions whose labels do not sort by time are numbered. Raises BadInput where there are no subjects or no
    FLAIR, the arm's column is missing, or nothing tells the days of a subject with several sessions.
    """
    root = root.absolute()
    folders = find_folders([root], "sub-*", "folders sub-01, sub-02, ... of a BIDS data set")
    arms = _arms(root, arm_column)
    rows = []
    for folder in folders:
        scans = _scans(root, folder)
        days = _days(_data_set(root) / folder.name, list(scans), interval_days)
        ordered = sorted(scans, key=lambda label: days[label])
        names = {label: label for label in ordered}
        if ordered != sorted(ordered):
            names = {label: f"{number:02d}{label}" for number, label in enumerate(ordered, start=1)}
            log.info("%s: sessions do not sort by time; call them %s", folder.name, ", ".join(names.values()))
        for label in ordered:
            row = {"subject": folder.name, "session": f"ses-{names[label]}", "days": days[label], **scans[label]}
            rows.append(row | {"arm": arms.get(folder.name, ""), "split": ""})
    if not rows:
        raise BadInput(f"{root}: expected FLAIR images in the folders anat, got none; fetch the images first")
    return pd.DataFrame(rows)


def _data_set(root: Path) -> Path:
    """The raw data set that a folder is, or is a derivative of."""
    return root.parent.parent if root.parent.name == "derivatives" else root


def _scans(root: Path, subject: Path) -> dict[str, dict[str, str]]:
    """Paths by session label."""
    masks = [
        file
        for place in dict.fromkeys([root, *sorted((_data_set(root) / "derivatives").glob("*"))])
        for file in _files(place / subject.name)
        if file.suffix == "mask"
    ]
    images = [file for file in _files(subject) if file.suffix in SUFFIXES.values()]
    scans = {}
    for session in sorted({file.entities.get("ses", ONLY_SESSION) for file in images}, key=natural):
        name = f"{subject.name} ses-{session}"
        here = [file for file in images if file.entities.get("ses", ONLY_SESSION) == session]
        chosen = {contrast: _first(_of_contrast(here, contrast), f"{name}: {contrast}") for contrast in SUFFIXES}
        flair = chosen["flair"]
        if flair is None:
            log.info("leave out %s: no FLAIR", name)
            continue
        scan = {contrast: "" if file is None else str(file.path) for contrast, file in chosen.items()}
        for column, words in MASK_WORDS.items():
            drawn = [
                mask
                for mask in masks
                if mask.entities.get("ses", ONLY_SESSION) == session
                and {mask.entities.get(key, "").lower() for key in ("label", "desc")} & words
                and _on_grid(mask.path, flair.path)
            ]
            mask = _first(drawn, f"{name}: {column}")
            scan[column] = "" if mask is None else str(mask.path)
        scans[session] = scan
    return scans


def _files(folder: Path) -> list[File]:
    """The images of a subject's folder, and of its sessions' folders, sorted by name."""
    found = []
    for path in sorted([*folder.glob("anat/*"), *folder.glob("ses-*/anat/*")]):
        stem = next((path.name.removesuffix(end) for end in EXTENSIONS if path.name.endswith(end)), None)
        if stem is not None:
            *pairs, suffix = stem.split("_")
            entities = {key: value for key, dash, value in (pair.partition("-") for pair in pairs) if dash}
            if entities.get("part", "mag") == "mag":
                found.append(File(path, entities, suffix))
    return found


def _of_contrast(files: Sequence[File], contrast: str) -> list[File]:
    enhanced = contrast == "t1ce"
    return [file for file in files if file.suffix == SUFFIXES[contrast] and ("ce" in file.entities) == enhanced]


def _on_grid(mask: Path, image: Path) -> bool:
    """Whether a mask lies on the grid of an image; says so where it does not."""
    try:
        check_grid(load_grid(mask), load_grid(image), str(mask))
    except BadInput:
        log.info("leave out %s: not on the grid of %s", mask, image.name)
        return False
    return True


def _first(files: Sequence[File], name: str) -> File | None:
    if len(files) > 1:
        log.info("%s: take %s, the first of %d", name, files[0].path, len(files))
    return files[0] if files else None


def _days(subject: Path, labels: Sequence[str], interval_days: int | None) -> dict[str, int]:
    """Days since the first scan, by session label; by a nominal interval where one is given."""
    if interval_days is None:
        table = subject / f"{subject.name}_sessions.tsv"
        listed = _column(table, "session_id", "days") if table.is_file() else {}
        if listed and all(_whole(listed.get(f"ses-{label}", "")) for label in labels):
            days = {label: int(listed[f"ses-{label}"]) for label in labels}
            return {label: value - min(days.values()) for label, value in days.items()}
        dates = {label: _date(subject, label) for label in labels}
        known = [day for day in dates.values() if day is not None]
        if known and len(known) == len(labels):
            return {label: (day - min(known)).days for label, day in dates.items() if day is not None}
    return dict(zip(labels, regular_days(len(labels), interval_days, subject.name), strict=True))


def _whole(text: str) -> bool:
    return text.removeprefix("-").isdigit()


def _date(subject: Path, label: str) -> date | None:
    """The day of a session, by the subject's table of sessions, else by the session's table of scans."""
    sessions = subject / f"{subject.name}_sessions.tsv"
    scans = subject / f"ses-{label}" / f"{subject.name}_ses-{label}_scans.tsv"
    texts = []
    if sessions.is_file():
        texts.append(_column(sessions, "session_id", "acq_time").get(f"ses-{label}", ""))
    if scans.is_file():
        texts += sorted(_column(scans, "filename", "acq_time").values())
    for text in texts:
        if text:
            try:
                return datetime.fromisoformat(text).date()
            except ValueError as error:
                raise BadInput(f"{subject.name} ses-{label}: expected acq_time as 2020-01-31, got {text!r}") from error
    return None


def _arms(root: Path, column: str | None) -> dict[str, str]:
    """Arm by subject, from a column of the table of participants."""
    if column is None:
        return {}
    path = _data_set(root) / "participants.tsv"
    table = _read(path)
    if column not in table or "participant_id" not in table:
        raise BadInput(f"--arm-column: expected a column of {path} ({', '.join(table.columns)}), got {column!r}")
    return dict(zip(table["participant_id"], table[column], strict=True))


def _column(path: Path, key: str, column: str) -> dict[str, str]:
    """A column of a table by a key column, or nothing where either is missing."""
    table = _read(path)
    return dict(zip(table[key], table[column], strict=True)) if {key, column} <= set(table) else {}


def _read(path: Path) -> pd.DataFrame:
    """A BIDS table as text; n/a becomes empty."""
    try:
        return pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, encoding="utf-8-sig").replace("n/a", "")
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise BadInput(f"{path}: expected a tab-separated table, cannot read it ({reason})") from error
