"""Writing a stack: a cohort's normalised scans, masks and regions into one array each.

Scans are written one by one, so that memory does not grow with the cohort. Arrays are streamed to files rather than
mapped: a full disk then is an error, where a map would end the process.
"""

import json
import logging
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import DTypeLike, NDArray
from pydantic import Field
from tqdm import tqdm

from msdiff.errors import BadInput
from msdiff.images import BACKGROUND, Grid, check_grid, load_image, load_labels, load_mask
from msdiff.patients import image_path
from msdiff.settings import Settings
from msdiff.stack.pairs import new_lesions
from msdiff.writing import whole_folder

SCAN_COLUMNS = ("subject", "session", "days", "arm")

log = logging.getLogger(__name__)


class StackSettings(Settings):
    """What the command `stack-scans` takes."""

    min_change_volume_mm3: float = Field(ge=0)


class Folders(NamedTuple):
    """The parents of the patients' folders, by stage; a patient is in one of them."""

    registered: Sequence[Path]
    stripped: Sequence[Path]
    normalised: Sequence[Path]
    parcellation: Sequence[Path]


class Masks(NamedTuple):
    """A scan's masks (X, Y, Z) inside the brain, and which of them are known."""

    lesion: NDArray[np.bool_]
    change: NDArray[np.bool_]
    enhancing: NDArray[np.bool_]
    has_lesion: bool
    has_change: bool
    has_enhancing: bool


def write_stack(
    scans: pd.DataFrame,
    folders: Folders,
    contrasts: Sequence[str],
    settings: StackSettings,
    out: str | Path,
) -> None:
    """Write the folder that `load_stack` opens; the formats are in reading.py.

    Raises BadInput where a file is missing, where grids differ, or where there is no scan.
    """
    scans = scans.sort_values(["subject", "session"], kind="stable").reset_index(drop=True)
    # Of each scan the patient's session before it; empty for the first one.
    before = scans.groupby("subject")["session"].shift(fill_value="")
    rows: list[dict[str, Any]] = []
    with whole_folder(out) as folder, ExitStack() as files:
        streams: dict[str, BinaryIO] = {}
        grid: Grid | None = None
        for row, scan in enumerate(tqdm(list(scans.itertuples()), desc="scans", unit="scan", disable=None)):
            subject, session = str(scan.subject), str(scan.session)
            brain = load_mask(_folder(folders.stripped, subject) / "brain_mask.nii.gz", grid)
            inside = np.asarray(brain.data, dtype=np.bool_)
            if grid is None:
                grid = brain.grid
                streams = _open_streams(folder, contrasts, len(scans), grid, files)
            masks = _masks(_folder(folders.registered, subject), session, str(before[row]), inside, grid, settings)
            known = []
            for contrast in contrasts:
                path = image_path(_folder(folders.normalised, subject), session, contrast)
                data = np.full(grid.shape, BACKGROUND, dtype=np.float16)
                if path.is_file():
                    image = load_image(path)
                    check_grid(image.grid, grid, str(path))
                    data = np.asarray(image.data).astype(np.float16)
                    known.append(contrast)
                _append(streams[contrast], data)
            labels = load_labels(_folder(folders.parcellation, subject) / "regions.nii.gz", grid)
            _append(streams["brain_mask"], inside)
            _append(streams["lesion_mask"], masks.lesion)
            _append(streams["change_mask"], masks.change)
            _append(streams["enhancing_mask"], masks.enhancing)
            _append(streams["regions"], labels.data)
            rows.append(
                {
                    "row": row,
                    "subject": subject,
                    "session": session,
                    "days": scan.days,
                    "arm": scan.arm,
                    "contrasts": " ".join(known),
                    "has_lesion_mask": int(masks.has_lesion),
                    "has_change_mask": int(masks.has_change),
                    "has_enhancing_mask": int(masks.has_enhancing),
                }
            )
        if grid is None:
            raise BadInput("scans: expected at least one scan, got an empty list; check the sheet")
        pd.DataFrame(rows).to_csv(folder / "scans.tsv", sep="\t", index=False)
        (folder / "grid.json").write_text(json.dumps({"shape": grid.shape, "affine": grid.affine.tolist()}) + "\n")
    log.info("wrote %s: %d scans", out, len(rows))


def _masks(
    folder: Path,
    session: str,
    baseline: str,
    brain: NDArray[np.bool_],
    grid: Grid,
    settings: StackSettings,
) -> Masks:
    """A scan's masks; if it has no change mask, the change is derived from the lesion masks of it and its baseline."""
    lesion = _optional_mask(image_path(folder, session, "lesion_mask"), grid)
    change = _optional_mask(image_path(folder, session, "change_mask"), grid)
    if change is None and lesion is not None and baseline:
        before = _optional_mask(image_path(folder, baseline, "lesion_mask"), grid)
        if before is not None:
            change = new_lesions(before, lesion, grid, settings.min_change_volume_mm3)
    enhancing = _optional_mask(image_path(folder, session, "enhancing_mask"), grid)
    nothing = np.zeros(grid.shape, dtype=np.bool_)
    return Masks(
        nothing if lesion is None else lesion & brain,
        nothing if change is None else change & brain,
        nothing if enhancing is None else enhancing & brain,
        lesion is not None,
        change is not None,
        enhancing is not None,
    )


def _folder(parents: Sequence[Path], subject: str) -> Path:
    """Where a patient's folder stands; below the first of the parents where there is none."""
    return next((parent / subject for parent in parents if (parent / subject).is_dir()), parents[0] / subject)


def _optional_mask(path: Path, grid: Grid) -> NDArray[np.bool_] | None:
    return np.asarray(load_mask(path, grid).data, dtype=np.bool_) if path.is_file() else None


def _open_streams(
    folder: Path, contrasts: Sequence[str], scans: int, grid: Grid, files: ExitStack
) -> dict[str, BinaryIO]:
    """One file per array, its .npy header written."""
    types = dict.fromkeys(contrasts, np.float16) | dict.fromkeys(
        ("brain_mask", "lesion_mask", "change_mask", "enhancing_mask", "regions"), np.uint8
    )
    shape = (scans, *grid.shape[::-1])
    return {name: open_array(folder / f"{name}.npy", kind, shape, files) for name, kind in types.items()}


def open_array(path: Path, kind: DTypeLike, shape: tuple[int, ...], files: ExitStack) -> BinaryIO:
    """A .npy file with its header written, to which the bytes of the array are then written in order."""
    stream = files.enter_context(path.open("wb"))
    header = {"descr": np.dtype(kind).str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream


def _append(stream: BinaryIO, data: NDArray[np.generic]) -> None:
    """Write a volume (X, Y, Z) as (z, y, x); what is not half precision becomes one byte."""
    kind = np.float16 if data.dtype == np.float16 else np.uint8
    stream.write(np.ascontiguousarray(data.T, dtype=kind).tobytes())
