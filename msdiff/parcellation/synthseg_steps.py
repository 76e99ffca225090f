"""What SynthSeg does before and after its network, on arrays alone.

Billot et al., Medical Image Analysis 86, 2023, and the code at github.com/BBillot/SynthSeg (predict_synthseg.py). To
the network's voxels and to RAS, percentiles to [0, 1], sides to multiples of 32; then posteriors averaged over both
left-right directions, smoothed, cut to the largest part of each group of labels that hang together, and the most
probable label. Affines are carried along, so that the way back to the input's grid is one matrix.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from msdiff.images import Grid, Volume
from msdiff.parcellation.regions import LABELS
from msdiff.spaces import transform_points

Posteriors = NDArray[np.float32]
Network = Callable[[NDArray[np.float32]], Posteriors]

# Published constants: the network was judged with these, so they are no settings.
PERCENTILES = (0.5, 99.5)
# Of a voxel size that is taken as it is, in mm.
SPACING_TOLERANCE_MM = 0.05
# Blur before larger voxels are made: this many of the new voxels.
SIGMA_PER_VOXEL = 0.25
# Standard deviation of the posteriors' blur.
SMOOTHING_VOXELS = 0.5
# Posteriors above which a voxel belongs to the brain, or to a group of labels.
THRESHOLD = 0.25
# In fast mode: below it a label's posterior is dropped.
FAST_THRESHOLD = 0.2

# Labels of which one connected part is kept, together; the rest of the structures are their own group each. Fluid
# between the gyri (CSF) is in many parts and left as it is.
TOGETHER = ((2, 3, 4, 5), (7, 8), (41, 42, 43, 44), (46, 47))
NO_GROUP = (0, 24)


class Prepared(NamedTuple):
    """An image as the network takes it: data (X, Y, Z) in [0, 1], RAS, and the affine (4, 4) of these voxels to mm."""

    data: NDArray[np.float32]
    affine: NDArray[np.float64]


def prepare(image: Volume, spacing_mm: float, multiple: int, box: Grid | None, margin_mm: float) -> Prepared:
    """An image for the network, cut to a box and a margin around it where one is given."""
    volume = to_ras(resample(image, spacing_mm))
    if box is not None:
        volume = crop(volume, box, margin_mm)
    return pad(Volume(rescale(np.asarray(volume.data, dtype=np.float32)), volume.affine), multiple)


def resample(volume: Volume, spacing_mm: float) -> Volume:
    """The volume on cubic voxels along its own axes, linearly, outer faces where they were."""
    old_mm = volume.grid.spacing_mm
    if (np.abs(old_mm - spacing_mm) <= SPACING_TOLERANCE_MM).all():
        return volume
    factor = old_mm / spacing_mm
    data = ndimage.gaussian_filter(
        np.asarray(volume.data, dtype=np.float32), np.where(factor > 1, 0, SIGMA_PER_VOXEL / factor)
    )
    shape = tuple(int(size) for size in np.ceil(np.array(data.shape) * factor - 1e-6))
    first = -(factor - 1) / (2 * factor)
    data = ndimage.affine_transform(data, np.diag(1 / factor), first, output_shape=shape, order=1, mode="nearest")
    steps = np.eye(4)
    steps[:3, :3], steps[:3, 3] = np.diag(1 / factor), first
    return Volume(data, volume.affine @ steps)


def to_ras(volume: Volume) -> Volume:
    """The volume with its axes swapped and turned, as near to right, anterior, superior as they come."""
    turns = nib.orientations.io_orientation(volume.affine)
    data = nib.orientations.apply_orientation(volume.data, turns)
    return Volume(data, volume.affine @ nib.orientations.inv_ornt_aff(turns, volume.data.shape))


def crop(volume: Volume, box: Grid, margin_mm: float) -> Volume:
    """The part of a volume that holds all of a grid's voxels and a margin around them."""
    ends = [(-0.5, size - 0.5) for size in box.shape]
    corners = transform_points(box.affine, np.stack(np.meshgrid(*ends), axis=-1).reshape(-1, 3))
    indices = transform_points(np.asarray(np.linalg.inv(volume.affine)), corners)
    margin = margin_mm / volume.grid.spacing_mm
    low = np.clip(np.floor(indices.min(axis=0) - margin), 0, np.array(volume.data.shape) - 1).astype(int)
    high = np.clip(np.ceil(indices.max(axis=0) + margin) + 1, low + 1, volume.data.shape).astype(int)
    parts = tuple(slice(start, stop) for start, stop in zip(low.tolist(), high.tolist(), strict=True))
    return _moved(volume.data[parts], volume.affine, low)


def rescale(data: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intensities from the percentiles to [0, 1], clipped; zero where they coincide."""
    low, high = (np.float32(value) for value in np.percentile(data, PERCENTILES))
    if low == high:
        return np.zeros_like(data)
    return np.asarray((np.clip(data, low, high) - low) / (high - low))


def pad(volume: Volume, multiple: int) -> Prepared:
    """The volume in the middle of zeros, sides the next multiples."""
    missing = -np.array(volume.data.shape) % multiple
    before = missing // 2
    data = np.pad(volume.data, list(zip(before, missing - before, strict=True)))
    return Prepared(data.astype(np.float32), _moved(data, volume.affine, -before).affine)


def posteriors_of(image: NDArray[np.float32], network: Network, labels: Sequence[int], fast: bool) -> Posteriors:
    """Posteriors (X, Y, Z, label): the network's on the image and on its mirror image, averaged and smoothed.

    `fast`, as published, leaves out the mirror image.
    """
    posteriors = network(image)
    if not fast:
        mirrored = network(np.ascontiguousarray(image[::-1]))[::-1]
        for k, partner in enumerate(mirror(labels)):
            posteriors[..., k] = (posteriors[..., k] + mirrored[..., partner]) / 2
    return smooth(posteriors)


def smooth(posteriors: Posteriors) -> Posteriors:
    """Posteriors (X, Y, Z, label) behind the published Gaussian of three taps per axis, zero beyond the borders."""
    tap = float(np.exp(-0.5 / SMOOTHING_VOXELS**2))
    side, middle = tap / (1 + 2 * tap), 1 / (1 + 2 * tap)
    for k in range(posteriors.shape[-1]):
        channel = posteriors[..., k]
        for axis in range(3):
            source = np.moveaxis(channel, axis, 0)
            blurred = middle * source
            blurred[1:] += side * source[:-1]
            blurred[:-1] += side * source[1:]
            channel = np.moveaxis(blurred, 0, axis)
        posteriors[..., k] = channel
    return posteriors


def mirror(labels: Sequence[int]) -> list[int]:
    """For each label the position of its counterpart on the other side, or its own."""
    codes = {name: code for code, name in LABELS.items()}
    sides = {"Left": "Right", "Right": "Left"}

    def partner(code: int) -> int:
        side, dash, structure = LABELS[code].partition("-")
        return codes[f"{sides[side]}-{structure}"] if dash and side in sides else code

    return [list(labels).index(partner(code)) for code in labels]


def clean(posteriors: Posteriors, labels: Sequence[int], fast: bool) -> Posteriors:
    """Posteriors with stray parts of the brain, and of each group of labels, set to zero.

    `fast`, as published, drops small posteriors instead of stray parts of groups.
    """
    brain = largest_part(np.asarray(posteriors[..., 1:].sum(axis=-1) > THRESHOLD))
    posteriors[..., 1:] *= brain[..., None]
    if fast:
        posteriors[..., 1:] *= posteriors[..., 1:] > FAST_THRESHOLD
        return posteriors
    for group in groups(labels):
        part = largest_part(np.asarray((posteriors[..., group] > THRESHOLD).any(axis=-1)))
        posteriors[..., group] *= part[..., None]
    return posteriors


def groups(labels: Sequence[int]) -> list[list[int]]:
    """Positions of the labels that hang together, one list per group."""
    joined = [group for group in TOGETHER if set(group) <= set(labels)]
    alone = set(labels) - set(NO_GROUP) - {code for group in joined for code in group}
    return [[list(labels).index(code) for code in group] for group in [*joined, *((code,) for code in sorted(alone))]]


def largest_part(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest part of a mask (X, Y, Z) whose voxels touch by their faces; the mask where it is empty."""
    box = _box(mask)
    parts, count = ndimage.label(mask[box])
    if count == 0:
        return mask
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    largest = np.zeros_like(mask)
    largest[box] = parts == sizes.argmax()
    return largest


def label_on(
    grid: Grid, posteriors: Posteriors, affine: NDArray[np.float64], labels: Sequence[int]
) -> NDArray[np.int32]:
    """The most probable label (X, Y, Z) at the voxels of a grid, posteriors interpolated linearly; 0 beyond them.

    Shares add up to one, so that the background's is what the other labels leave.
    """
    index = np.linalg.inv(affine) @ grid.affine
    total = np.maximum(posteriors.sum(axis=-1), np.finfo(np.float32).tiny)
    background = np.ones(grid.shape, dtype=np.float32)
    best = np.zeros(grid.shape, dtype=np.float32)
    found = np.zeros(grid.shape, dtype=np.int32)
    for k, code in enumerate(labels):
        source = _box(posteriors[..., k] > 0)
        if code == 0 or any(part.start == part.stop for part in source):
            continue
        share = posteriors[(*source, k)] / total[source]
        target = _reached(source, index, grid.shape)
        first = np.array([part.start for part in target])
        offset = transform_points(index, first.astype(np.float64)) - [part.start for part in source]
        shape = tuple(part.stop - part.start for part in target)
        value = ndimage.affine_transform(share, index[:3, :3], offset, shape, order=1, mode="grid-constant")
        background[target] -= value
        better = value > best[target]
        best[target][better], found[target][better] = value[better], code
    found[best <= background] = 0
    return found


def _box(mask: NDArray[np.bool_]) -> tuple[slice, slice, slice]:
    """The smallest part of an array that holds a mask (X, Y, Z); nothing where it is empty."""
    inside = [np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    x, y, z = (slice(int(axis[0]), int(axis[-1]) + 1) if axis.size else slice(0, 0) for axis in inside)
    return x, y, z


def _reached(
    source: tuple[slice, slice, slice], index: NDArray[np.float64], shape: tuple[int, int, int]
) -> tuple[slice, slice, slice]:
    """The part of a grid whose voxels `index` maps to within one voxel of a part of the source."""
    ends = [(part.start - 1.0, part.stop) for part in source]
    corners = np.stack(np.meshgrid(*ends), axis=-1).reshape(-1, 3)
    reached = transform_points(np.asarray(np.linalg.inv(index)), corners)
    low = np.clip(np.floor(reached.min(axis=0)), 0, shape).astype(int).tolist()
    high = np.clip(np.ceil(reached.max(axis=0)) + 1, low, shape).astype(int).tolist()
    x, y, z = (slice(start, stop) for start, stop in zip(low, high, strict=True))
    return x, y, z


def _moved(data: NDArray[np.generic], affine: NDArray[np.float64], first: NDArray[np.int64]) -> Volume:
    """Data whose first voxel was number `first` (3,) of the affine's grid."""
    moved = affine.copy()
    moved[:3, 3] = transform_points(affine, np.asarray(first, dtype=np.float64))
    return Volume(data, moved)
