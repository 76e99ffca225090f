"""Where one head roughly lies in another: normalised mutual information over a coarse grid, from many starts.

Gradient descent finds the nearest optimum only; heads that are turned by 20 degrees, or a brain without skull in a
whole head, need a search first. The measure is H(A) + H(B) over H(A, B) (Studholme et al., Pattern Recognition 32,
1999) of the fixed image's voxels inside a mask; moving values are interpolated linearly and shared between two bins, so
that the measure is smooth.
"""

import logging
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage, optimize
from scipy.spatial.transform import Rotation

from msdiff.antspy import Kind
from msdiff.images import Volume
from msdiff.settings import Settings
from msdiff.spaces import Matrix, isotropic_grid, resample, transform_points

# A rotation's step, and a scale's, are weighed as the mm they move at this distance from the centre.
RADIUS_MM = 60.0
# A position is only judged where this part of the fixed voxels lies inside the moving image.
LEAST_OVERLAP = 0.4
# The head ends this far below its top: neck and shoulders do not pull the centre.
HEAD_HEIGHT_MM = 150.0

log = logging.getLogger(__name__)


class Search(Settings):
    """How wide and how fine the search is."""

    spacing_mm: float = Field(gt=0)
    angles_degrees: tuple[float, ...] = Field(min_length=1)
    shifts_mm: tuple[float, ...] = Field(min_length=1)
    scales: tuple[float, ...] = Field(min_length=1)
    scale_range: tuple[float, float]
    candidates: int = Field(ge=1)
    histogram_bins: int = Field(ge=8)
    tolerance_mm: float = Field(gt=0)
    judge_spacing_mm: float = Field(gt=0)


class RegistrationMasks(NamedTuple):
    """Where a fixed image is compared, bool (X, Y, Z): in the wide search, and in the last fit."""

    search: NDArray[np.bool_]
    fit: NDArray[np.bool_]


class Sampled(NamedTuple):
    """A fixed image's voxels: points (N, 3) in mm and bins (N,), and the moving image in bins."""

    points_mm: NDArray[np.float64]
    fixed_bins: NDArray[np.int64]
    moving: Volume
    bins: int


def search(fixed: Volume, moving: Volume, mask: NDArray[np.bool_], kind: Kind, settings: Search) -> Matrix:
    """The map (4, 4), fixed to moving in RAS+ mm, of the best of many starts; a scale besides, for `affine`.

    The mask (X, Y, Z) lies on the fixed grid and says where the images are compared.
    """
    sampled = sample(fixed, moving, mask, settings.spacing_mm, settings.histogram_bins)
    centre_mm = head_centre(fixed)
    offsets = np.unique(np.round([head_centre(moving) - centre_mm, np.zeros(3)], 6), axis=0)
    angles = np.radians(settings.angles_degrees) * RADIUS_MM
    scales = np.log(settings.scales)[:, None] * RADIUS_MM if kind == "affine" else np.zeros((1, 0))
    starts = [
        np.array([*(offset + np.array([0, 0, shift])), *turn, *scale])
        for offset in offsets
        for shift in settings.shifts_mm
        for turn in product(angles, repeat=3)
        for scale in scales
    ]
    # A whole head fits a brain's outline well where it may shrink enough; brains do not differ as much.
    low, high = settings.scale_range

    def judge(parameters: NDArray[np.float64]) -> float:
        matrix = head_map(parameters, centre_mm)
        return cost(sampled, matrix) if low**3 <= np.linalg.det(matrix[:3, :3]) <= high**3 else 0.0

    costs = [judge(start) for start in starts]
    best = [starts[k] for k in np.argsort(costs, kind="stable")[: settings.candidates]]
    # Two scans of one visit mostly share the scanner's coordinates.
    best.append(np.zeros(len(starts[0])))
    found = [head_map(descend(judge, start, settings.tolerance_mm)[1], centre_mm) for start in best]
    fine = sample(fixed, moving, mask, settings.judge_spacing_mm, settings.histogram_bins)
    return min(found, key=partial(cost, fine))


def descend(
    judge: Callable[[NDArray[np.float64]], float], start: NDArray[np.float64], tolerance_mm: float
) -> tuple[float, NDArray[np.float64]]:
    """The least cost near a start, by Powell's method (The Computer Journal 7, 1964), and its parameters."""
    result = optimize.minimize(
        judge,
        start,
        method="Powell",
        options={"xtol": tolerance_mm, "ftol": 1e-5, "direc": np.eye(len(start)) * 4 * tolerance_mm},
    )
    return float(result.fun), result.x


def keep_better(
    fixed: Volume, moving: Volume, mask: NDArray[np.bool_], start: Matrix, refined: Matrix, bins: int
) -> Matrix:
    """The refined map where it is better than its start inside a mask: descents may run off on a thin field of view."""
    sampled = sample(fixed, moving, mask, float(fixed.grid.spacing_mm.min()), bins)
    before, after = cost(sampled, start), cost(sampled, refined)
    log.info("normalised mutual information %.4f before the descent, %.4f after", -before, -after)
    return refined if after < before else start


def head_map(parameters: NDArray[np.float64], centre_mm: NDArray[np.float64]) -> Matrix:
    """The map (4, 4) of 3 shifts and 3 rotations about a centre, then one log scale, or 3 and 3 shears; all in mm.

    Rotations (a rotation vector), scales and shears are given as the mm they move at RADIUS_MM.
    """
    matrix = np.eye(4)
    linear = Rotation.from_rotvec(parameters[3:6] / RADIUS_MM).as_matrix()
    if len(parameters) > 6:
        stretch = np.exp(np.broadcast_to(parameters[6:9], 3) / RADIUS_MM)
        shear = np.eye(3)
        shear[np.triu_indices(3, 1)] = np.broadcast_to(parameters[9:12], 3) / RADIUS_MM if len(parameters) > 9 else 0
        linear = linear @ shear @ np.diag(stretch)
    matrix[:3, :3] = linear
    matrix[:3, 3] = centre_mm + parameters[:3] - linear @ centre_mm
    return matrix


def sample(fixed: Volume, moving: Volume, mask: NDArray[np.bool_], spacing_mm: float, bins: int) -> Sampled:
    """Both images on cubic grids of a spacing, in bins; the fixed one only inside the mask."""
    grid = isotropic_grid(fixed.grid, spacing_mm)
    inside = np.asarray(resample(Volume(mask.astype(np.float32), fixed.affine), grid, np.eye(4)).data) >= 0.5
    values = np.asarray(resample(fixed, grid, np.eye(4)).data)[inside]
    points = transform_points(grid.affine, np.argwhere(inside).astype(np.float64))
    coarse = resample(moving, isotropic_grid(moving.grid, spacing_mm), np.eye(4))
    return Sampled(
        points,
        np.rint(_to_bins(values, values, bins)).astype(np.int64),
        Volume(_to_bins(coarse.data, np.asarray(coarse.data)[foreground(coarse)], bins), coarse.affine),
        bins,
    )


def cost(sampled: Sampled, matrix: Matrix) -> float:
    """Minus the normalised mutual information under a map, between -2 (one tells the other) and -1; 0 off the field."""
    inverse = np.linalg.inv(sampled.moving.affine)
    indices = transform_points(inverse @ matrix, sampled.points_mm).T
    limits = np.array(sampled.moving.data.shape)[:, None] - 0.5
    inside = ((indices > -0.5) & (indices < limits)).all(axis=0)
    if inside.mean() < LEAST_OVERLAP:
        return 0.0
    values = ndimage.map_coordinates(sampled.moving.data, indices[:, inside], order=1, mode="nearest")
    lower = np.minimum(values.astype(np.int64), sampled.bins - 2)
    share = values - lower
    cells = sampled.fixed_bins[inside] * sampled.bins + lower
    size = sampled.bins**2
    joint = (np.bincount(cells, 1 - share, size) + np.bincount(cells + 1, share, size)) / len(values)
    table = joint.reshape(sampled.bins, sampled.bins)
    return -(_entropy(table.sum(axis=0)) + _entropy(table.sum(axis=1))) / max(_entropy(joint), 1e-9)


def foreground(volume: Volume) -> NDArray[np.bool_]:
    """The head in its dark surroundings (X, Y, Z): above half of Otsu's threshold (IEEE Trans. SMC 9, 1979)."""
    data = np.asarray(volume.data, dtype=np.float64)
    counts, edges = np.histogram(data, bins=256, range=(data.min(), np.percentile(data, 99.5) + 1e-6))
    centres = (edges[:-1] + edges[1:]) / 2
    below, mass = np.cumsum(counts), np.cumsum(counts * centres)
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (mass / below - (mass[-1] - mass) / above) ** 2
    threshold = centres[np.nanargmax(np.where(np.isfinite(between), between, -1))]
    return np.asarray(data > data.min() + (threshold - data.min()) / 2)


def head_centre(volume: Volume) -> NDArray[np.float64]:
    """The middle (3,) in mm of the foreground's upper HEAD_HEIGHT_MM."""
    grid = isotropic_grid(volume.grid, float(max(volume.grid.spacing_mm.max(), 4)))
    coarse = resample(volume, grid, np.eye(4))
    mask = ndimage.binary_opening(foreground(coarse))
    areas = mask.sum(axis=(0, 1))
    if not areas.any():
        return transform_points(grid.affine, (np.array(grid.shape) - 1) / 2)
    top = np.flatnonzero(areas > 0.1 * areas.max()).max()
    mask[:, :, : max(0, int(top - HEAD_HEIGHT_MM / grid.spacing_mm[2]))] = False
    return transform_points(grid.affine, np.argwhere(mask).mean(axis=0))


def _to_bins(data: NDArray[np.generic], sample: NDArray[np.generic], bins: int) -> NDArray[np.float32]:
    """Values as fractions of bins in [0, bins - 1]; each bin holds an equal part of the sample.

    Bins of equal width would spend themselves on the bright skin of a T1w head, and leave few to the brain.
    """
    edges = np.quantile(np.asarray(sample, dtype=np.float32), np.linspace(0, 1, bins))
    return np.asarray(np.interp(np.asarray(data, dtype=np.float32), edges, np.arange(bins)), dtype=np.float32)


def _entropy(probabilities: NDArray[np.float64]) -> float:
    positive = probabilities[probabilities > 0]
    return float(-(positive * np.log(positive)).sum())
