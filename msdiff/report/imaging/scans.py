"""What the report says of single scans: their pictures, worst first, and which were flagged or excluded."""

import base64
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from msdiff.errors import BadInput


class ScanPart(NamedTuple):
    """A scan on the page: its name, why it is flagged, its picture's link and, where it is shown, PNG in base64."""

    name: str
    flag: str
    link: str
    data: str


class ScanParts(NamedTuple):
    """All scans, worst first, and the names of excluded ones with the reasons."""

    scans: list[ScanPart]
    excluded: list[tuple[str, str]]

    @property
    def flagged(self) -> list[ScanPart]:
        """The scans outside the limits."""
        return [scan for scan in self.scans if scan.flag]


def scan_parts(table: pd.DataFrame, pictures: Sequence[Path], page: Path, shown: int, sheet: pd.DataFrame) -> ScanParts:
    """The scans of the table of quality control, lowest score first, `shown` of them with their picture.

    One of the folders `pictures` holds {subject}/{session}.png, links are relative to the page's folder. Raises
    BadInput where a picture is missing.
    """
    ordered = table.sort_values(["score", "subject", "session"], kind="stable")
    scans = []
    for number, scan in enumerate(ordered.itertuples(index=False)):
        name = f"{scan.subject}/{scan.session}.png"
        path = next((folder / name for folder in pictures if (folder / name).is_file()), None)
        if path is None:
            places = ", ".join(map(str, pictures))
            raise BadInput(f"{places}: {name}: no such picture; run check_quality for {scan.subject} again")
        data = base64.b64encode(path.read_bytes()).decode() if number < shown else ""
        flag = "" if pd.isna(scan.flag) else str(scan.flag)
        scans.append(ScanPart(f"{scan.subject} {scan.session}", flag, os.path.relpath(path, page.parent), data))
    return ScanParts(scans, excluded_scans(sheet))


def excluded_scans(sheet: pd.DataFrame) -> list[tuple[str, str]]:
    """Name and reason of each scan that a sheet excludes."""
    if "exclude" not in sheet:
        return []
    rows: Sequence[tuple[str, str, str]] = sheet[["subject", "session", "exclude"]].itertuples(index=False, name=None)
    return [(f"{subject} {session}", str(reason)) for subject, session, reason in rows if not pd.isna(reason)]
