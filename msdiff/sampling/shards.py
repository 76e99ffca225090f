"""Synthetic follow-ups on disk: one folder per shard, drawn from a plan.

    follow_up.npy      uint16 (sample, y, x): 0 to 65535 for -1 to 1
    change_mask.npy    uint8  (sample, y, ceil(x / 8)): bits packed along x
    manifest.tsv       the plan's rows in the arrays' order, and where they came from

Columns of a plan: sample (number), seed, baseline_subject, baseline_row, slice, mask_subject, mask_row, mask_slice,
follow_up_row (the true follow-up in a stack's arrays, -1 where there is none), change_mm3, change_count, change_flag
(the scalars that condition the draw). The manifest adds generator, weights_sha256, contrast, sampler, steps,
guidance_weight and msdiff_version.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

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


class OpenShard(NamedTuple):
    """A shard that is being written: its arrays lie on the disk and take a few samples at a time."""

    scaled: NDArray[np.uint16]
    packed: NDArray[np.uint8]

    def write(self, start: int, follow_up: NDArray[np.float32], change_mask: NDArray[np.bool_]) -> None:
        """Put in images (sample, y, x) in [-1, 1] and masks (sample, y, x), from the sample `start` on."""
        rows = slice(start, start + len(follow_up))
        self.scaled[rows] = np.rint((np.clip(follow_up, -1, 1) + 1) / 2 * TOP).astype(np.uint16)
        self.packed[rows] = np.packbits(change_mask, axis=-1)


@contextmanager
def new_shard(folder: str | Path, manifest: pd.DataFrame, height: int, width: int) -> Iterator[OpenShard]:
    """A shard to write the manifest's samples to; the folder appears whole at the end, or not at all."""
    with whole_folder(folder) as temporary:
        manifest.to_csv(temporary / "manifest.tsv", sep="\t", index=False)
        shard = OpenShard(
            _new_array(temporary / "follow_up.npy", np.uint16, (len(manifest), height, width)),
            _new_array(temporary / "change_mask.npy", np.uint8, (len(manifest), height, -(-width // 8))),
        )
        yield shard
        for array in shard:
            if isinstance(array, np.memmap):
                array.flush()


def save_shard(shard: Shard, folder: str | Path) -> None:
    """Write a shard's folder whole or not at all."""
    with new_shard(folder, shard.manifest, *shard.follow_up.shape[1:]) as opened:
        opened.write(0, shard.follow_up, shard.change_mask)


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


def _new_array(path: Path, kind: type[np.generic], shape: tuple[int, ...]) -> NDArray[Any]:
    """An array of zeros in a new .npy file, mapped; a file without elements cannot be."""
    if 0 in shape:
        np.save(path, np.zeros(shape, kind))
        return np.zeros(shape, kind)
    return np.lib.format.open_memmap(path, mode="w+", dtype=kind, shape=shape)
