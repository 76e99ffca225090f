"""Writing a stack: a cohort's normalised scans, masks and regions into one array each, and the index of its slices.

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
from scipy import ndimage
from tqdm import tqdm

from msdiff.errors import BadInput
from msdiff.images import BACKGROUND, Grid, check_grid, load_image, load_labels, load_mask
from msdiff.patients import image_path
from msdiff.settings import Settings
from msdiff.writing import whole_folder

SCAN_COLUMNS = ("subject", "session", "days", "arm", "split")
PAIR_COLUMNS = ("subject", "arm", "split", "baseline_session", "follow_up_session", "interval_days")
IN_SCANS = np.ones((3, 3, 3))
IN_SLICES = np.ones((3, 3))

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
    pairs: pd.DataFrame,
    folders: Folders,
    contrasts: Sequence[str],
    settings: StackSettings,
    out: str | Path,
) -> None:
    """Write the folder that `stacks.load_stack` opens; the formats are in stacks.py.

    Raises BadInput where a file is missing, where grids differ, or where no training patient has any change.
    """
    scans = scans.sort_values(["subject", "session"], kind="stable").reset_index(drop=True)
    baselines = {(p.subject, p.follow_up_session): p.baseline_session for p in pairs.itertuples()}
    rows: list[dict[str, Any]] = []
    slices: dict[tuple[str, str], pd.DataFrame] = {}
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
            baseline = baselines.get((subject, session))
            masks = _masks(_folder(folders.registered, subject), session, baseline, inside, grid, settings)
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
                    "split": scan.split,
                    "contrasts": " ".join(known),
                    "has_lesion_mask": int(masks.has_lesion),
                    "has_change_mask": int(masks.has_change),
                    "has_enhancing_mask": int(masks.has_enhancing),
                }
            )
            if baseline is not None:
                slices[subject, session] = slice_rows(masks.change, inside, grid)
        if grid is None:
            raise BadInput("scans: expected at least one scan, got an empty list; check the sheet")
        table = pd.DataFrame(rows)
        table.to_csv(folder / "scans.tsv", sep="\t", index=False)
        index = slice_index(pairs, table, slices)
        _check_change(index)
        index.to_csv(folder / "slices.tsv", sep="\t", index=False)
        (folder / "grid.json").write_text(json.dumps({"shape": grid.shape, "affine": grid.affine.tolist()}) + "\n")
    log.info("wrote %s: %d scans, %d pairs, %d slices", out, len(rows), len(pairs), len(index))


def slice_rows(change: NDArray[np.bool_], brain: NDArray[np.bool_], grid: Grid) -> pd.DataFrame:
    """One row per slice with brain in it: what a change mask (X, Y, Z) holds there, and in the whole scan."""
    # A determinant of 2.9999999999999996 mm3 is 3 mm3.
    voxel_mm3 = round(grid.voxel_volume_mm3, 6)
    in_scan = {
        "scan_change_mm3": float(change.sum()) * voxel_mm3,
        "scan_change_count": int(ndimage.label(change, IN_SCANS)[1]),
    }
    rows = []
    for number in np.flatnonzero(brain.any(axis=(0, 1))):
        plane = change[:, :, number]
        voxels = int(plane.sum())
        rows.append(
            {
                "slice": int(number),
                "brain_voxels": int(brain[:, :, number].sum()),
                "change_voxels": voxels,
                "slice_change_mm3": voxels * voxel_mm3,
                "slice_change_count": int(ndimage.label(plane, IN_SLICES)[1]),
                **in_scan,
            }
        )
    return pd.DataFrame(rows)


def slice_index(pairs: pd.DataFrame, scans: pd.DataFrame, slices: dict[tuple[str, str], pd.DataFrame]) -> pd.DataFrame:
    """The stack's index: every pair's slices, with the pair's columns and the rows of both scans."""
    row_of = {(scan.subject, scan.session): scan.row for scan in scans.itertuples()}
    tables = []
    for number, pair in enumerate(pairs.itertuples()):
        try:
            baseline_row = row_of[pair.subject, pair.baseline_session]
            follow_up_row = row_of[pair.subject, pair.follow_up_session]
        except KeyError as error:
            raise BadInput(f"pairs: {error.args[0]} is not among the scans; make both lists anew") from error
        of_pair = {
            "pair": number,
            "subject": pair.subject,
            "arm": pair.arm,
            "split": pair.split,
            "baseline_session": pair.baseline_session,
            "follow_up_session": pair.follow_up_session,
            "interval_days": pair.interval_days,
            "baseline_row": baseline_row,
            "follow_up_row": follow_up_row,
        }
        of_slices = slices[str(pair.subject), str(pair.follow_up_session)]
        tables.append(pd.DataFrame([of_pair] * len(of_slices)).join(of_slices))
    if not tables:
        raise BadInput("pairs: expected at least one pair, got an empty list; check the sheet")
    return pd.concat(tables, ignore_index=True)


def new_lesions(
    baseline: NDArray[np.bool_], follow_up: NDArray[np.bool_], grid: Grid, min_volume_mm3: float
) -> NDArray[np.bool_]:
    """Lesion voxels (X, Y, Z) that the baseline had not, in 26-connected parts of at least a volume in mm3.

    That is new lesions and what grew around old ones; what shrank or vanished is not in it.
    """
    labels, count = ndimage.label(follow_up & ~baseline, IN_SCANS)
    large = np.bincount(labels.ravel(), minlength=count + 1) * round(grid.voxel_volume_mm3, 6) >= min_volume_mm3
    large[0] = False
    return np.asarray(large[labels])


def _masks(
    folder: Path,
    session: str,
    baseline: str | None,
    brain: NDArray[np.bool_],
    grid: Grid,
    settings: StackSettings,
) -> Masks:
    """A scan's masks; the change is derived where only lesions are drawn."""
    lesion = _optional_mask(image_path(folder, session, "lesion_mask"), grid)
    change = _optional_mask(image_path(folder, session, "change_mask"), grid)
    if change is None and lesion is not None and baseline is not None:
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


def _check_change(index: pd.DataFrame) -> None:
    """Raise BadInput where the training pairs hold no change at all."""
    training = index[index["split"] == "train"]
    if training["change_voxels"].sum() == 0:
        raise BadInput(
            f"change masks: expected some change in the training patients, got none in {training['pair'].nunique()} "
            "pairs; there is nothing to learn from: check the masks, their spaces and the split"
        )


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
