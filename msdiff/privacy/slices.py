"""Slices as they are compared: averaged to a few pixels, and their correlation in the brain that two of them share.

    r = sum (x - mx) (y - my) / sqrt(sum (x - mx)^2 sum (y - my)^2)     sums and means over the pixels in both brains

A gain and an offset change nothing, and neither does the outline: a generator that copies a patient into the outline of
its baseline's brain is found as one that copies the outline too. For all pairs at once the sums are six products of
matrices, of the pixels, their squares and the masks. Two slices whose brains share little are not compared.
"""

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from msdiff.errors import BadInput
from msdiff.sampling.shards import Shard
from msdiff.settings import Settings
from msdiff.stack.reading import Stack

# Slices read at a time; no result depends on it.
BLOCK = 256
# Pairs correlated at a time; of the block's matrix only the diagonal is wanted.
PAIRED = 32
# Of the product of two sums of squares: slices without any contrast.
SMALLEST_SPREAD = 1e-6

Vectors = NDArray[np.float32]


class SliceSettings(Settings):
    """Section `privacy.slices`.

    contrast            array of the stack whose follow-ups are compared: the generator's
    side                pixels of the averaged slice, in each direction
    minimum_overlap     share of the larger brain's pixels that two slices must have in common to be compared
    """

    contrast: str
    side: Annotated[int, Field(ge=8)]
    minimum_overlap: Annotated[float, Field(gt=0, le=1)]


class AveragedSlices(NamedTuple):
    """Averaged slices.

    pixels              (slice, pixel), of mean 0 and mean square 1 in the brain, 0 outside
    inside              (slice, pixel), 1 in the brain, 0 outside
    """

    pixels: Vectors
    inside: Vectors

    def at(self, slices: Any, pixels: Any = slice(None)) -> "AveragedSlices":
        """Some of the slices, and some of their pixels."""
        return AveragedSlices(self.pixels[slices][:, pixels], self.inside[slices][:, pixels])


def averaged(images: NDArray[Any], brains: NDArray[Any], side: int) -> AveragedSlices:
    """Slices (slice, y, x) and their brain masks, averaged over the brain in areas, side x side of them.

    An area is inside where the brain fills half of it.
    """
    image = torch.from_numpy(np.asarray(images, dtype=np.float32))
    brain = torch.from_numpy(np.asarray(brains) > 0).float()
    filled = functional.adaptive_avg_pool2d(brain[:, None], side).flatten(1)
    sums = functional.adaptive_avg_pool2d((image * brain)[:, None], side).flatten(1)
    inside = (filled >= 0.5).float()
    n = inside.sum(1, keepdim=True).clamp(min=1)
    values = sums / filled.clamp(min=0.5)
    centred = (values - (values * inside).sum(1, keepdim=True) / n) * inside
    spread = (centred.pow(2).sum(1, keepdim=True) / n).sqrt().clamp(min=1e-6)
    return AveragedSlices((centred / spread).numpy(), inside.numpy())


def correlations(one: AveragedSlices, other: AveragedSlices, minimum_overlap: float) -> Tensor:
    """Correlation (slice, slice) of all pairs of `one` and `other`, -1 where their brains share too little."""
    (x, a), (y, b) = ((torch.from_numpy(part) for part in slices) for slices in (one, other))
    n = a @ b.T
    sum_x, sum_y = x @ b.T, a @ y.T
    spread_x, spread_y = (x * x) @ b.T - sum_x**2 / n.clamp(min=1), a @ (y * y).T - sum_y**2 / n.clamp(min=1)
    found = (x @ y.T - sum_x * sum_y / n.clamp(min=1)) / (spread_x * spread_y).clamp(min=SMALLEST_SPREAD).sqrt()
    shared = n >= minimum_overlap * torch.maximum(a.sum(1)[:, None], b.sum(1)).clamp(min=1)
    return torch.where(shared, found.clamp(-1, 1), -1.0)


def paired_correlations(one: AveragedSlices, other: AveragedSlices, minimum_overlap: float) -> Vectors:
    """Correlation (slice,) of each slice of `one` with that of `other` at its place."""
    parts = [np.zeros(0, dtype=np.float32)]
    for start in range(0, len(one.pixels), PAIRED):
        part = slice(start, start + PAIRED)
        parts.append(correlations(one.at(part), other.at(part), minimum_overlap).diagonal().numpy())
    return np.concatenate(parts)


def real_slices(stack: Stack, rows: pd.DataFrame, scan: str, settings: SliceSettings) -> AveragedSlices:
    """The slices of a table's scans; `scan`: baseline_row, or follow_up_row."""
    places = rows[[scan, "slice"]].to_numpy(np.int64)
    parts = []
    for start in range(0, len(places), BLOCK):
        scans, levels = places[start : start + BLOCK].T
        images, brains = (stack.read(name, scans, levels) for name in (settings.contrast, "brain_mask"))
        parts.append(averaged(images, brains, settings.side))
    return _together(parts, settings.side)


def synthetic_slices(stack: Stack, shards: Sequence[Shard], settings: SliceSettings) -> AveragedSlices:
    """The shards' follow-ups, one shard after the other, in their baselines' brains.

    Raises BadInput where a shard's slices are of another size than the stack's, or of another contrast.
    """
    size = stack.grid.shape[1::-1]
    parts = []
    for shard in shards:
        others = sorted(set(shard.manifest["contrast"]) - {settings.contrast})
        if others:
            raise BadInput(
                f"shards: expected samples in {settings.contrast}, as privacy.slices.contrast says, got {others[0]}; "
                "set it to the generator's contrast"
            )
        if shard.shape("follow_up") != size:
            raise BadInput(
                f"shards: expected slices of the stack's size {size}, got {shard.shape('follow_up')}; "
                "sample on this stack"
            )
        rows, levels = shard.manifest[["baseline_row", "slice"]].to_numpy(np.int64).T
        for start in range(0, len(rows), BLOCK):
            part = slice(start, start + BLOCK)
            brains = stack.read("brain_mask", rows[part], levels[part])
            parts.append(averaged(shard.read("follow_up", part), brains, settings.side))
    return _together(parts, settings.side)


def as_images(vectors: Vectors) -> Tensor:
    """Pixels, or masks, (slice, side * side) as images (slice, 1, side, side)."""
    side = round(vectors.shape[1] ** 0.5)
    images: Tensor = torch.from_numpy(vectors).reshape(-1, 1, side, side)
    return images


def _together(parts: list[AveragedSlices], side: int) -> AveragedSlices:
    nothing = np.zeros((0, side**2), dtype=np.float32)
    pixels, inside = zip(*parts, (nothing, nothing), strict=True)
    return AveragedSlices(np.concatenate(pixels), np.concatenate(inside))
