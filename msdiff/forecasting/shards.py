"""Drawn NET2 masks on disk, of patients under treatments: one folder per shard.

    forecasts.tsv      one row per patient and arm, columns below
    masks.npy          uint8 (row, draw, z, y, ceil(x / 8)): drawn masks inside the brain, bits packed along x

Columns of forecasts.tsv: row (number among those of all shards), subject, arm, own_arm, split, rows (in all shards
together), purpose, draws, seed, shared_noise, voxel_threshold, model, weights_sha256, sampler, steps, guidance_weight,
msdiff_version. Shard s of N holds rows s, s + N, s + 2 N ...
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from msdiff.errors import BadInput

# Columns that all rows of a purpose share.
COMMON = [
    "rows",
    "purpose",
    "draws",
    "seed",
    "shared_noise",
    "voxel_threshold",
    "model",
    "weights_sha256",
    "sampler",
    "steps",
    "guidance_weight",
]


class Shard(NamedTuple):
    """A shard as it lies on disk: its table, and masks that are mapped and not read."""

    folder: Path
    forecasts: pd.DataFrame
    packed: NDArray[np.uint8]

    def draws(self, place: int, width: int) -> NDArray[np.bool_]:
        """The masks (draw, z, y, x) of the row at a place, `width` voxels along x."""
        return np.unpackbits(self.packed[place], axis=-1, count=width).view(np.bool_)


def load_shard(folder: str | Path) -> Shard:
    """Open a shard without reading its masks; BadInput where the folder is none."""
    folder = Path(folder)
    try:
        names = dict.fromkeys(("subject", "arm", "own_arm"), str)
        forecasts = pd.read_csv(folder / "forecasts.tsv", sep="\t", keep_default_na=False, dtype=names)
        # A file without elements cannot be mapped.
        packed = np.load(folder / "masks.npy", mmap_mode="r" if len(forecasts) else None)
    except (OSError, ValueError) as error:
        raise BadInput(
            f"{folder}: expected a shard of forecasts, cannot read it ({error}); make it by sample-forecasts"
        ) from error
    return Shard(folder, forecasts, packed)


def joined(shards: Sequence[Shard]) -> pd.DataFrame:
    """The rows of all shards in order, with the columns shard and place, where each is found.

    Raises BadInput where they are not the shards of one run, each once.
    """
    tables = [
        shard.forecasts.assign(shard=number, place=range(len(shard.forecasts))) for number, shard in enumerate(shards)
    ]
    rows = pd.concat(tables, ignore_index=True).sort_values("row", ignore_index=True)
    if rows.empty:
        raise BadInput(f"{shards[0].folder}: expected forecasts, got shards without any; draw them again")
    for column in COMMON:
        found = rows[column].unique()
        if len(found) > 1:
            first, other = (shards[rows.loc[rows[column] == value, "shard"].iloc[0]].folder for value in found[:2])
            raise BadInput(
                f"{other}: expected the {column} of {first}, {found[0]}, got {found[1]}; draw all shards alike"
            )
    expected = int(rows["rows"].iloc[0])
    if rows["row"].tolist() != list(range(expected)):
        missing = sorted(set(range(expected)) - set(rows["row"]))
        fault = f"row {missing[0]} is missing" if missing else f"got {len(rows)}, some twice"
        raise BadInput(
            f"{shards[0].folder.parent}: expected all {expected} rows of {rows['purpose'].iloc[0]}, each once; {fault}"
            "; give every shard once"
        )
    return rows
