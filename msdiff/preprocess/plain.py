"""Backends with numpy and scipy alone: for machines without ANTs, and as a second opinion."""

from functools import partial

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage

from msdiff.antspy import Kind
from msdiff.images import Volume
from msdiff.preprocess.search import (
    RegistrationMasks,
    Sampled,
    Search,
    cost,
    descend,
    foreground,
    head_map,
    sample,
    search,
)
from msdiff.preprocess.shapes import ball, largest_component
from msdiff.preprocess.skull_stripping import Session
from msdiff.settings import Settings, check
from msdiff.spaces import Matrix
from msdiff.template import template_brain


class PlainRegistrationOptions(Settings):
    """Options of `register`."""

    search: Search
    spacings_mm: tuple[float, ...] = Field(min_length=1)
    tolerance_mm: float = Field(gt=0)


class PlainSkullOptions(Settings):
    """Options of `strip_skull`."""

    threshold: float = Field(gt=0, lt=1)
    opening_mm: float = Field(ge=0)
    margin_mm: float = Field(ge=0)


def register(
    fixed: Volume,
    moving: Volume,
    masks: RegistrationMasks,
    kind: Kind,
    start: Matrix | None,
    options: dict[str, object],
) -> Matrix:
    """A coarse search, then Powell's method on finer and finer grids; contract as in registration.py."""
    settings = check(PlainRegistrationOptions, options, "registration.plain")
    matrix = search(fixed, moving, masks.search, kind, settings.search) if start is None else start
    size = {"rigid": 6, "affine": 12}[kind]
    for spacing_mm in settings.spacings_mm:
        sampled = sample(fixed, moving, masks.fit, spacing_mm, settings.search.histogram_bins)
        centre_mm = sampled.points_mm.mean(axis=0)
        # Each level turns about the last one's map, so that rotations stay small.
        judge = partial(_cost_about, sampled, matrix, centre_mm)
        matrix = matrix @ head_map(descend(judge, np.zeros(size), settings.tolerance_mm)[1], centre_mm)
    return matrix


def _cost_about(
    sampled: Sampled, about: Matrix, centre_mm: NDArray[np.float64], parameters: NDArray[np.float64]
) -> float:
    return cost(sampled, about @ head_map(parameters, centre_mm))


def strip_skull(session: Session, options: dict[str, object], threads: int) -> NDArray[np.bool_]:
    """Bright voxels near the template's brain, cut loose from the skin; contract as in skull_stripping.py."""
    settings = check(PlainSkullOptions, options, "skull_stripping.plain")
    volume = session.image
    data = np.asarray(volume.data)
    brain = template_brain(volume.grid)
    near = ndimage.binary_dilation(brain, ball(volume.grid, settings.margin_mm))
    bright = near & (data > settings.threshold * np.median(data[brain & foreground(volume)]))
    radius = ball(volume.grid, settings.opening_mm)
    kernel = largest_component(ndimage.binary_erosion(bright, radius))
    opened = ndimage.binary_dilation(kernel, radius) & bright
    closed = ndimage.binary_closing(np.pad(opened, 4), radius, iterations=2)[4:-4, 4:-4, 4:-4]
    return np.asarray(ndimage.binary_fill_holes(closed & near))
