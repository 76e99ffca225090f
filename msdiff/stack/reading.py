"""A cohort's scans as memory-mapped arrays, with an index of pairs and slices.

A stack is a folder:

    <contrast>.npy     float16 (scan, z, y, x), in [-1, 1], -1 outside the brain
    brain_mask.npy     uint8   (scan, z, y, x), and so lesion_mask.npy, change_mask.npy, enhancing_mask.npy, and
                       regions.npy (labels)
    scans.tsv          one row per scan: row, subject, session, days, arm, split, contrasts, has_lesion_mask,
                       has_change_mask, has_enhancing_mask
    slices.tsv         one row per pair and slice with brain in it (columns below)
    grid.json          shape (x, y, z) and affine of the grid in RAS+ mm

`change_mask` of a scan holds what changed since the patient's session before it. A mask that a scan has not is
empty, and its `has_` column 0. A volume is `array[row]`, a slice `array[row, slice]`; y runs to anterior and x to the
right.

Columns of slices.tsv: pair, subject, arm, split, baseline_session, follow_up_session, interval_days, baseline_row,
follow_up_row, slice, brain_voxels, change_voxels, slice_change_mm3, slice_change_count, scan_change_mm3,
scan_change_count (components of the change mask, 26-connected in scans and 8-connected in slices).
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from msdiff.errors import BadInput
from msdiff.images import Grid

INDEX = ("scans.tsv", "slices.tsv", "grid.json")


class Stack(NamedTuple):
    """An opened stack: its grid, its scans and slices; arrays are mapped when asked for."""

    folder: Path
    grid: Grid
    scans: pd.DataFrame
    slices: pd.DataFrame

    def array(self, name: str) -> NDArray[np.generic]:
        """The read-only array (scan, z, y, x) of a contrast, a mask or `regions`; BadInput where there is none."""
        return mapped(self.folder, name)

    def sha256(self, *names: str) -> str:
        """Hexadecimal SHA-256 of named arrays, of the index and of the grid: of all that a training reads."""
        return digest_of(self.folder, names, INDEX)


def mapped(folder: Path, name: str) -> NDArray[np.generic]:
    """A read-only array of a folder of arrays by its name; BadInput where there is none."""
    return np.load(_path(folder, name), mmap_mode="r")  # type: ignore[no-any-return]


def digest_of(folder: Path, names: Sequence[str], index: Sequence[str]) -> str:
    """Hexadecimal SHA-256 of named arrays of a folder, and of the files that tell what is in them."""
    digest = hashlib.sha256()
    for path in [*(_path(folder, name) for name in names), *(folder / name for name in index)]:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _path(folder: Path, name: str) -> Path:
    path = folder / f"{name}.npy"
    if not path.is_file():
        names = sorted(file.stem for file in folder.glob("*.npy"))
        raise BadInput(f"{path}: no such array; the folder holds {', '.join(names)}")
    return path


def load_stack(folder: str | Path) -> Stack:
    """Open a stack; BadInput where the folder is not one."""
    folder = Path(folder)
    try:
        grid = json.loads((folder / "grid.json").read_text())
        scans = pd.read_csv(folder / "scans.tsv", sep="\t", keep_default_na=False)
        slices = pd.read_csv(folder / "slices.tsv", sep="\t", keep_default_na=False)
    except (OSError, ValueError) as error:
        raise BadInput(f"{folder}: expected a stack of scans, cannot read it ({error})") from error
    x, y, z = grid["shape"]
    return Stack(folder, Grid((x, y, z), np.asarray(grid["affine"], dtype=np.float64)), scans, slices)
