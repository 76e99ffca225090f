"""A cohort's scans as memory-mapped arrays.

A stack is a folder:

    <contrast>.npy     float16 (scan, z, y, x), in [-1, 1], -1 outside the brain
    brain_mask.npy     uint8   (scan, z, y, x), and so lesion_mask.npy, change_mask.npy, enhancing_mask.npy, and
                       regions.npy (labels)
    scans.tsv          one row per scan: row, subject, session, days, arm, contrasts, has_lesion_mask,
                       has_change_mask, has_enhancing_mask
    grid.json          shape (x, y, z) and affine of the grid in RAS+ mm

`change_mask` of a scan holds what changed since the patient's session before it. If a scan lacks a mask, the stored
mask is empty and the scan's `has_` column is 0. A volume is `array[row]`, a slice `array[row, slice]`; y runs to
anterior and x to the right.

Two lists beside the stack say how it is used, so that another list reruns no imaging: the index of slices (pairs.py),
and a fold, which assigns every patient to train, validation or test (msdiff/cohort/folds.py).
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from msdiff.errors import BadInput
from msdiff.images import Grid
from msdiff.lists import read_list
from msdiff.settings import digest

# The number of a slice that stands for all of its scan.
WHOLE = -1
INDEX = ("scans.tsv", "grid.json")


class Stack(NamedTuple):
    """An opened stack: its grid and scans; arrays are mapped when asked for.

    `slices` is empty without an index of slices; `scans` and `slices` have a column `split` if a fold is given.
    """

    folder: Path
    grid: Grid
    scans: pd.DataFrame
    slices: pd.DataFrame

    def array(self, name: str) -> NDArray[np.generic]:
        """The read-only array (scan, z, y, x) of a contrast, a mask or `regions`; BadInput where there is none."""
        return mapped(self.folder, name)

    def read(self, name: str, rows: ArrayLike, slices: ArrayLike = WHOLE) -> NDArray[Any]:
        """Items of an array, (item, ...) or one of them: of the scans in these rows the slices (y, x) of these numbers.

        Where the number is WHOLE the items are whole volumes (z, y, x). BadInput where there is no such array.
        """
        scans, numbers = np.asarray(rows, dtype=np.int64), np.asarray(slices, dtype=np.int64)
        array = self.array(name)
        return np.asarray(array[scans] if (numbers == WHOLE).any() else array[scans, numbers])

    def sha256(self, *names: str) -> str:
        """Hexadecimal SHA-256 of named arrays, of the list of scans and of the grid."""
        return digest_of(self.folder, names, INDEX)


def mapped(folder: Path, name: str) -> NDArray[np.generic]:
    """A read-only array of a folder of arrays by its name; BadInput where there is none."""
    return np.load(_path(folder, name), mmap_mode="r")  # type: ignore[no-any-return]


def digest_of(folder: Path, names: Sequence[str], index: Sequence[str]) -> str:
    """Hexadecimal SHA-256 of named arrays of a folder, and of the files that tell what is in them."""
    total = hashlib.sha256()
    for path in [*(_path(folder, name) for name in names), *(folder / name for name in index)]:
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def digest_of_rows(rows: pd.DataFrame) -> str:
    """Hexadecimal SHA-256 of rows of a list: which scans, slices or patients a training reads."""
    return digest(rows.to_csv(index=False))


def _path(folder: Path, name: str) -> Path:
    path = folder / f"{name}.npy"
    if not path.is_file():
        names = sorted(file.stem for file in folder.glob("*.npy"))
        raise BadInput(f"{path}: no such array; the folder holds {', '.join(names)}")
    return path


def load_stack(folder: str | Path, slices: str | Path | None = None, fold: str | Path | None = None) -> Stack:
    """Open a stack, with its index of slices and a fold; BadInput where one of them cannot be read."""
    folder = Path(folder)
    try:
        grid = json.loads((folder / "grid.json").read_text())
        scans = pd.read_csv(folder / "scans.tsv", sep="\t", keep_default_na=False)
    except (OSError, ValueError) as error:
        raise BadInput(f"{folder}: expected a stack of scans, cannot read it ({error})") from error
    index = pd.DataFrame() if slices is None else read_list(slices, ["subject", "baseline_row", "follow_up_row"])
    if fold is not None:
        split = read_fold(fold)
        scans = with_split(scans, split, fold)
        index = index if slices is None else with_split(index, split, fold)
    x, y, z = grid["shape"]
    return Stack(folder, Grid((x, y, z), np.asarray(grid["affine"], dtype=np.float64)), scans, index)


def read_fold(path: str | Path) -> dict[str, str]:
    """Split (train, validation or test) by patient; BadInput where a patient is in two."""
    table = read_list(path, ["subject", "split"])[["subject", "split"]].drop_duplicates()
    twice = table[table["subject"].duplicated(keep=False)]
    if len(twice):
        raise BadInput(
            f"{path}: patient {twice['subject'].iloc[0]} is in {' and '.join(sorted(twice['split'].unique()))}; "
            "give every patient one set, and train again"
        )
    return dict(zip(table["subject"], table["split"], strict=True))


def with_split(table: pd.DataFrame, split: dict[str, str], fold: str | Path) -> pd.DataFrame:
    """A list of scans, slices or patients with the column `split`; BadInput where the fold lacks a patient."""
    unknown = table.loc[~table["subject"].isin(split), "subject"]
    if len(unknown):
        raise BadInput(f"{fold}: expected a set for every patient, got none for {unknown.iloc[0]}; make the fold anew")
    place = 1 + table.columns.get_loc("arm" if "arm" in table else "subject")
    table.insert(place, "split", table["subject"].map(split).astype(str))
    return table
