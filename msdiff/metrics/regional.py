"""How many lesions a mask holds, how large they are, and in which regions of the brain they lie.

A sampled mask is opened before its lesions are counted: what does not hold one box of the kernel is taken for a ragged
border or for noise. Favero et al., arXiv 2508.07006 (2025), section 4.3, open with 1 x 5 x 5 voxels (z, y, x) and then
count components, while a true mask is counted as it is.

A region has a lesion where one component at least lies in it, by a rule:

overlap      it shares `region_overlap_voxels` voxels or more with the region; so a lesion across a border lies in both
             regions, and one of fewer voxels in none
centroid     the voxel nearest to its centroid is one of the region's; so it lies in one region at most
"""

from typing import Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeFloat, PositiveInt
from scipy import ndimage

from msdiff.metrics.lesion import Components, components
from msdiff.settings import Settings

# FreeSurfer's codes, left and right.
REGIONS = {"cerebral_white_matter": (2, 41), "cerebral_cortex": (3, 42)}

RegionRule = Literal["overlap", "centroid"]
Number = TypeVar("Number", np.bool_, np.uint16)
# A box has a middle voxel only where its sides are odd.
Side = Literal[1, 3, 5, 7, 9, 11, 13, 15]


class ReadoutSettings(Settings):
    """Section `forecasting.readout`: what is a lesion, and when it lies in a region.

    opening_voxels          sides (z, y, x) of the box that a sampled mask is opened with, odd; [1, 1, 1] is no opening
    connectivity            of the voxels of one lesion
    min_lesion_volume_mm3   of a lesion
    region_overlap_voxels   that a lesion shares with a region at least, under the rule overlap
    region_rule             see the head of this module
    """

    opening_voxels: tuple[Side, Side, Side]
    connectivity: Literal[6, 18, 26]
    min_lesion_volume_mm3: NonNegativeFloat
    region_overlap_voxels: PositiveInt
    region_rule: RegionRule


class Readout(NamedTuple):
    """Of one mask: how many lesions, their volume together, and by region whether a lesion lies in it."""

    lesions: int
    volume_mm3: float
    in_region: dict[str, bool]


def read_out(
    mask: NDArray[np.bool_], regions: NDArray[np.integer], settings: ReadoutSettings, voxel_volume_mm3: float
) -> Readout:
    """Lesions of a mask (z, y, x), if sampled `opened` first, over a map of FreeSurfer's codes (z, y, x)."""
    box = _bounding_box(mask)
    mask, regions = mask[box], regions[box]
    lesions = components(mask, settings.connectivity, settings.min_lesion_volume_mm3, voxel_volume_mm3)
    return Readout(
        lesions=lesions.n,
        volume_mm3=float(lesions.voxels.sum() * voxel_volume_mm3),
        in_region={
            name: lesions_in(lesions, np.isin(regions, codes), settings.region_rule, settings.region_overlap_voxels) > 0
            for name, codes in REGIONS.items()
        },
    )


def opened(mask: NDArray[Number], kernel: tuple[int, int, int]) -> NDArray[Number]:
    """The union of all boxes of kernel (z, y, x) voxels that lie wholly in a mask (z, y, x); sides are odd.

    Of a map of whole numbers from 0 it is the map whose every level is opened so: the result at a voxel is the highest
    level at which it lies in such a box. Beyond the edge of the volume is nothing.
    """
    result = np.zeros_like(mask)
    # A box in the mask lies in the mask's bounding box, and lesions are small.
    box = _bounding_box(mask)
    part = mask[box].astype(np.uint8) if mask.dtype == np.bool_ else mask[box]
    if part.size:
        eroded = ndimage.minimum_filter(part, size=kernel, mode="constant", cval=0)
        result[box] = ndimage.maximum_filter(eroded, size=kernel, mode="constant", cval=0)
    return result


def lesions_in(lesions: Components, region: NDArray[np.bool_], rule: RegionRule, min_voxels: int) -> int:
    """Number of lesions (z, y, x) that lie in a region (z, y, x), by the rule; see the head of this module."""
    if lesions.n == 0:
        return 0
    if rule == "overlap":
        shared = np.bincount(lesions.labels[region], minlength=lesions.n + 1)[1:]
        return int((shared >= min_voxels).sum())
    centroids = ndimage.center_of_mass(lesions.labels > 0, lesions.labels, np.arange(1, lesions.n + 1))
    return int(region[tuple(np.rint(centroids).astype(int).T)].sum())


def _bounding_box(mask: NDArray[np.generic]) -> tuple[slice, ...]:
    """The smallest box that holds a mask; empty where nothing is set."""
    spans = (np.flatnonzero(mask.any(axis=tuple(np.delete(range(mask.ndim), axis)))) for axis in range(mask.ndim))
    return tuple(slice(int(span[0]), int(span[-1]) + 1) if len(span) else slice(0, 0) for span in spans)
