"""Shapes of masks: balls measured in mm, largest components."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from msdiff.images import Grid


def ball(grid: Grid, radius_mm: float) -> NDArray[np.bool_]:
    """A structuring element: the voxels whose centres lie within a radius of the middle one."""
    reach = np.floor(radius_mm / grid.spacing_mm).astype(int)
    offsets = np.meshgrid(
        *(np.arange(-r, r + 1) * mm for r, mm in zip(reach, grid.spacing_mm, strict=True)), indexing="ij"
    )
    return np.asarray(sum(offset**2 for offset in offsets) <= radius_mm**2)


def close_gaps(mask: NDArray[np.bool_], grid: Grid, radius_mm: float) -> NDArray[np.bool_]:
    """A mask (X, Y, Z) grown by a radius and shrunk by it again: gaps up to twice the radius wide are bridged."""
    grown = ndimage.distance_transform_edt(~mask, sampling=grid.spacing_mm) <= radius_mm
    return np.asarray(ndimage.distance_transform_edt(grown, sampling=grid.spacing_mm) > radius_mm) | mask


def largest_component(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest 6-connected part of a mask (X, Y, Z); an empty mask stays empty."""
    labels, count = ndimage.label(mask)
    if count == 0:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(labels == sizes.argmax())
