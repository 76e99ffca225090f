"""What the sources share: finding files by name, and days where a data set tells none."""

import re
from collections.abc import Sequence
from pathlib import Path

from msdiff.errors import BadInput

EXTENSIONS = (".nii.gz", ".nii")


def find_image(folder: Path, *names: str) -> str:
    """The path of the first of these names, with .nii.gz or .nii, that is a file in a folder; empty where none is."""
    paths = (folder / f"{name}{extension}" for name in names for extension in EXTENSIONS)
    return next((str(path) for path in paths if path.is_file()), "")


def find_folders(places: Sequence[Path], pattern: str, expected: str) -> list[Path]:
    """The folders that match a pattern, in natural order, in the first of these places that has any.

    Raises BadInput, naming the last place and what was expected there, where there are none.
    """
    for place in places:
        if found := [folder for folder in place.glob(pattern) if folder.is_dir()]:
            return sorted(found, key=lambda folder: natural(folder.name))
    raise BadInput(f"{places[-1]}: expected {expected}, found none; correct --root")


def natural(name: str) -> list[str | int]:
    """A key that sorts numbers in names by value: M6 before M12."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"([0-9]+)", name)]


def regular_days(count: int, interval_days: int | None, name: str) -> list[int]:
    """Days of `count` sessions at one nominal interval, for data sets without dates.

    Raises BadInput, naming the patient, where several sessions have no interval, or the interval is below 1.
    """
    if interval_days is None and count > 1:
        raise BadInput(f"{name}: nothing tells the days between its {count} sessions; give a nominal --interval-days")
    if interval_days is not None and interval_days < 1:
        raise BadInput(f"--interval-days: expected 1 or more, got {interval_days}")
    return [number * (interval_days or 0) for number in range(count)]
