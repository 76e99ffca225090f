"""Synthetic follow-ups as NIfTI files with sidecars, in the manner of BIDS derivatives.

    dataset_description.json
    participants.tsv                                        one row per sample: the manifest
    sub-000012/anat/sub-000012_FLAIR.nii.gz                 slice (x, y, 1) or volume, [-1, 1], -1 outside the brain
    sub-000012/anat/sub-000012_FLAIR.json                   "synthetic": true, and where it came from
    sub-000012/anat/sub-000012_label-change_mask.nii.gz     and .json: the change that was asked for

A file lies where its baseline, or the slice of it, lies in the world, RAS+ mm on the grid of the stack. Sidecars use
BIDS's words where it has them; the others are the manifest's columns.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from msdiff import __version__
from msdiff.cohort.sources.bids import SUFFIXES
from msdiff.errors import BadInput
from msdiff.images import Grid, Volume, save
from msdiff.sampling.shards import load_shard
from msdiff.settings import Settings
from msdiff.stack.reading import WHOLE, Stack
from msdiff.writing import whole_folder

BIDS_VERSION = "1.10.0"
# Columns of the manifest that a sidecar repeats under their own names.
TOLD = (
    "sample",
    "seed",
    "generator",
    "weights_sha256",
    "contrast",
    "sampler",
    "steps",
    "guidance_weight",
    "baseline_subject",
    "slice",
    "mask_subject",
    "mask_slice",
    "change_mm3",
    "change_count",
    "change_flag",
    "scalars",
)
PLACED = ("mirrored", "rotation_degrees", "scale", "shifts", "surviving_fraction")
UNITS = {
    "intensity": "-1 to 1, normalised on the baseline; -1 outside the brain",
    "change_mm3": "mm3",
    "slice": "number along z in the stack, from 0; -1 for a whole volume",
    "rotation_degrees": "degrees",
    "shifts": "voxels along y and x, one pair for each lesion of the donor, - where it was left out",
}
WORDS = "Synthetic follow-up {} from a generative model: no scan of any patient."


class ExportSettings(Settings):
    """Section `synthesis.nifti`.

    license     of the exported set, for its description and every sidecar
    every       only every so many samples
    """

    license: Annotated[str, Field(min_length=1)]
    every: PositiveInt


def export_samples(
    stack: Stack,
    shards: Iterable[str | Path],
    out: str | Path,
    license_text: str,
    samples: Collection[int] | None,
    every: int,
    overwrite: bool,
) -> int:
    """Write samples of shards to the folder `out`, whole or not at all; how many.

    Parameters
    ----------
    license_text
        Of the exported set, for its description and every sidecar.
    samples
        Numbers of the samples to write; None is all.
    every
        Of those, every so many by number.
    overwrite
        Replace what is in `out`.

    Raises BadInput where `out` holds something and is not to be replaced, where a sample asked for is in no shard, or
    where a shard is of another stack.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())) and not overwrite:
        raise BadInput(f"{out}: expected a new or empty folder, got one with files; choose another or give --overwrite")
    folders = [Path(folder) for folder in shards]
    wanted = _wanted(folders, samples, every)
    written = []
    with whole_folder(out) as temporary:
        for row, image, mask in _samples_of(folders, wanted):
            _check(stack, row, image)
            _write(stack, row, image, mask, temporary, license_text)
            written.append({"participant_id": name_of(row)} | dict(row))
        pd.DataFrame(written).to_csv(temporary / "participants.tsv", sep="\t", index=False)
        description = {
            "Name": "Synthetic follow-up scans",
            "BIDSVersion": BIDS_VERSION,
            "DatasetType": "derivative",
            "License": license_text,
            "GeneratedBy": [{"Name": "msdiff", "Version": __version__}],
            "synthetic": True,
        }
        _write_json(description, temporary / "dataset_description.json")
    return len(written)


def item_grid(grid: Grid, number: int) -> Grid:
    """Where a stack's slice lies: a grid of one voxel along z; for a whole volume the grid itself."""
    if number == WHOLE:
        return grid
    affine = grid.affine.copy()
    affine[:3, 3] = (grid.affine @ [0, 0, number, 1])[:3]
    return Grid((grid.shape[0], grid.shape[1], 1), affine)


def name_of(row: Mapping[str, Any]) -> str:
    """A sample's name among the participants: `sub-000012`."""
    return f"sub-{int(row['sample']):06d}"


def sidecar(row: Mapping[str, Any], sessions: Mapping[int, str], license_text: str) -> dict[str, Any]:
    """What is told beside a sample's image, from its row of the manifest and the session of every scan of the stack."""
    own, whole = int(row["follow_up_row"]) >= 0, row["slice"] == WHOLE
    placed = "as far as it lies in the brain" if whole else "its lesions moved to where they have room"
    return {
        "synthetic": True,
        "Description": WORDS.format("volume" if whole else "slice"),
        "GeneratedBy": [{"Name": "msdiff", "Version": row["msdiff_version"]}],
        "License": license_text,
        "Units": "arbitrary",
        **{column: row[column] for column in TOLD},
        "baseline_session": sessions[int(row["baseline_row"])],
        "mask_session": sessions[int(row["mask_row"])],
        "change_mask": "the patient's own" if own else f"a donor's, {placed}",
        **({} if own else {column: row[column] for column in PLACED}),
        "units": UNITS,
    }


def _wanted(shards: list[Path], samples: Collection[int] | None, every: int) -> set[int]:
    """The numbers to write."""
    present: list[int] = []
    for folder in shards:
        manifest = load_shard(folder).manifest
        missing = [column for column in (*TOLD, *PLACED) if column not in manifest]
        if missing:
            raise BadInput(f"{folder}: expected a shard with {', '.join(missing)} in its manifest; sample it again")
        present.extend(int(number) for number in manifest["sample"])
    absent = sorted(set(samples or ()) - set(present))
    if absent:
        raise BadInput(f"samples: expected numbers of samples in the shards, got {absent[0]}; see their manifest.tsv")
    return set(sorted(present if samples is None else samples)[::every])


def _samples_of(
    shards: list[Path], wanted: set[int]
) -> Iterator[tuple[Mapping[str, Any], NDArray[np.float32], NDArray[np.bool_]]]:
    """Manifest row, image and mask, (y, x) or (z, y, x), of every wanted sample, one at a time."""
    for folder in shards:
        shard = load_shard(folder)
        for place, row in enumerate(shard.manifest.to_dict("records")):
            if row["sample"] in wanted:
                yield row, shard.read("follow_up", place), shard.read("change_mask", place)


def _check(stack: Stack, row: Mapping[str, Any], image: NDArray[np.float32]) -> None:
    """Raise BadInput where a sample is not of this stack."""
    subjects = dict(zip(stack.scans["row"], stack.scans["subject"], strict=True))
    shape = stack.grid.shape[::-1] if row["slice"] == WHOLE else stack.grid.shape[1::-1]
    if image.shape != shape or subjects.get(row["baseline_row"]) != row["baseline_subject"]:
        raise BadInput(
            f"{stack.folder}: expected the stack that the samples are from, got one without "
            f"{row['baseline_subject']} in row {row['baseline_row']} or with other items than {image.shape}"
        )


def _write(
    stack: Stack,
    row: Mapping[str, Any],
    image: NDArray[np.float32],
    mask: NDArray[np.bool_],
    folder: Path,
    license_text: str,
) -> None:
    """A sample's image and mask, each with its sidecar."""
    name, affine = name_of(row), item_grid(stack.grid, int(row["slice"])).affine
    beside = sidecar(row, dict(zip(stack.scans["row"], stack.scans["session"], strict=True)), license_text)
    anat = folder / name / "anat"
    contrast = str(row["contrast"])
    stem = anat / f"{name}_{SUFFIXES.get(contrast, contrast.upper())}"
    save(Volume(np.atleast_3d(image.T), affine), stem.with_name(f"{stem.name}.nii.gz"))
    _write_json(beside, stem.with_name(f"{stem.name}.json"))
    stem = anat / f"{name}_label-change_mask"
    save(Volume(np.atleast_3d(mask.T), affine), stem.with_name(f"{stem.name}.nii.gz"))
    about_mask = {
        "Description": "Synthetic: 1 where a new lesion was asked for",
        "Type": "Lesion",
        "units": UNITS | {"intensity": "0 and 1"},
    }
    _write_json(beside | about_mask, stem.with_name(f"{stem.name}.json"))


def _write_json(values: Mapping[str, Any], path: Path) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
