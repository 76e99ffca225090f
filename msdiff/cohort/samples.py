"""Synthetic follow-ups on disk: one folder per shard, drawn from a plan.

    follow_up.npy      uint16 (sample, y, x): 0 to 65535 for -1 to 1
    change_mask.npy    uint8  (sample, y, ceil(x / 8)): bits packed along x
    manifest.tsv       the plan's rows in the arrays' order, and where they came from

Columns of a plan: sample (number), seed, baseline_subject, baseline_row, slice, mask_subject, mask_row, mask_slice,
follow_up_row (the true follow-up in a stack's arrays, -1 where there is none), change_mm3, change_count, change_flag
(the scalars that condition the draw). The manifest adds generator, weights_sha256, sampler, steps.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from msdiff.errors import BadInput
from msdiff.writing import whole_folder

TOP = 65535


class Shard(NamedTuple):
    """Drawn follow-ups: images (sample, y, x) in [-1, 1], masks (sample, y, x), one manifest row per sample."""

    follow_up: NDArray[np.float32]
    change_mask: NDArray[np.bool_]
    manifest: pd.DataFrame


def save_shard(shard: Shard, folder: str | Path) -> None:
    """Write a shard's folder whole or not at all."""
    scaled = np.rint((np.clip(shard.follow_up, -1, 1) + 1) / 2 * TOP).astype(np.uint16)
    with whole_folder(folder) as temporary:
        np.save(temporary / "follow_up.npy", scaled)
        np.save(temporary / "change_mask.npy", np.packbits(shard.change_mask, axis=-1))
        shard.manifest.to_csv(temporary / "manifest.tsv", sep="\t", index=False)


class MappedShard(NamedTuple):
    """A shard as it lies on disk, mapped and not read: `slices` reads and decodes some of it."""

    scaled: NDArray[np.uint16]
    packed: NDArray[np.uint8]
    manifest: pd.DataFrame

    def slices(self, index: slice | NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Follow-ups (sample, y, x) in [-1, 1] and change masks (sample, y, x) of the samples at `index`."""
        scaled = np.asarray(self.scaled[index])
        mask = np.unpackbits(self.packed[index], axis=-1, count=scaled.shape[-1]).astype(bool)
        return (scaled / TOP * 2 - 1).astype(np.float32), mask


def map_shard(folder: str | Path) -> MappedShard:
    """Open a shard without reading its images; BadInput where the folder is not one."""
    folder = Path(folder)
    try:
        scaled = np.load(folder / "follow_up.npy", mmap_mode="r")
        packed = np.load(folder / "change_mask.npy", mmap_mode="r")
        manifest = pd.read_csv(folder / "manifest.tsv", sep="\t", keep_default_na=False)
    except (OSError, ValueError) as error:
        raise BadInput(f"{folder}: expected a shard of samples, cannot read it ({error})") from error
    return MappedShard(scaled, packed, manifest)


def load_shard(folder: str | Path) -> Shard:
    """Read a shard; BadInput where the folder is not one."""
    mapped = map_shard(folder)
    return Shard(*mapped.slices(slice(None)), mapped.manifest)
