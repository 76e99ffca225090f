"""Slices as they are compared: the brain about its own mean, averaged to a few pixels, of length one.

    v = a / |a|         a: area averages of (x - mean of x in the brain) in the brain, 0 outside

The product of two such vectors is their correlation over the pixels of either brain (normalised cross-correlation), in
which the outside counts as the brain's mean. A gain and an offset of the whole brain change nothing.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from msdiff.cohort.samples import MappedShard
from msdiff.cohort.stacks import Stack
from msdiff.errors import BadInput
from msdiff.settings import Settings

# Slices read at a time; no result depends on it.
BLOCK = 256


class SliceSettings(Settings):
    """Section `privacy.slices`.

    contrast            array of the stack whose follow-ups are compared: the generator's
    side                pixels of the averaged slice, in each direction
    """

    contrast: str
    side: Annotated[int, Field(ge=8)]


def compared(images: NDArray[Any], brains: NDArray[Any], side: int) -> NDArray[np.float32]:
    """Vectors (slice, side * side) of length one of slices (slice, y, x) and their brain masks; 0 without brain."""
    image = torch.from_numpy(np.asarray(images, dtype=np.float32))
    brain = torch.from_numpy(np.asarray(brains) > 0).float()
    mean = (image * brain).sum((1, 2), keepdim=True) / brain.sum((1, 2), keepdim=True).clamp(min=1)
    pixels = functional.adaptive_avg_pool2d(((image - mean) * brain)[:, None], side).flatten(1)
    return functional.normalize(pixels, dim=1).numpy()


def real_slices(stack: Stack, rows: pd.DataFrame, scan: str, settings: SliceSettings) -> NDArray[np.float32]:
    """Vectors (row, side * side) of the slices of a table's scans; `scan`: baseline_row, or follow_up_row."""
    images, brains = stack.array(settings.contrast), stack.array("brain_mask")
    places = rows[[scan, "slice"]].to_numpy(np.int64)
    parts = [np.zeros((0, settings.side**2), dtype=np.float32)]
    for start in range(0, len(places), BLOCK):
        scans, levels = places[start : start + BLOCK].T
        parts.append(compared(images[scans, levels], brains[scans, levels], settings.side))
    return np.concatenate(parts)


def synthetic_slices(stack: Stack, shards: Sequence[MappedShard], settings: SliceSettings) -> NDArray[np.float32]:
    """Vectors (sample, side * side) of the shards' follow-ups, one shard after the other, in their baselines' brains.

    Raises BadInput where a shard's slices are of another size than the stack's.
    """
    brains = stack.array("brain_mask")
    parts = []
    for shard in shards:
        if shard.scaled.shape[1:] != brains.shape[2:]:
            raise BadInput(
                f"shards: expected slices of the stack's size {brains.shape[2:]}, got {shard.scaled.shape[1:]}; "
                "draw the samples on this stack"
            )
        rows, levels = shard.manifest[["baseline_row", "slice"]].to_numpy(np.int64).T
        for start in range(0, len(rows), BLOCK):
            part = slice(start, start + BLOCK)
            images, _ = shard.slices(part)
            parts.append(compared(images, brains[rows[part], levels[part]], settings.side))
    return np.concatenate(parts)


def as_images(vectors: NDArray[np.float32]) -> Tensor:
    """The vectors (slice, side * side) as images (slice, 1, side, side) with a mean square of one."""
    side = round(vectors.shape[1] ** 0.5)
    images: Tensor = torch.from_numpy(vectors).reshape(-1, 1, side, side) * side
    return images
