"""ANTs as a backend of registration, bias correction and skull-stripping (Avants et al., NeuroImage 54, 2011)."""

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage

from msdiff import antspy
from msdiff.antspy import Deformation, Kind, Refinement
from msdiff.images import Volume
from msdiff.preprocess.search import RegistrationMasks, Search, keep_better, search
from msdiff.preprocess.shapes import ball, largest_component
from msdiff.preprocess.skull_stripping import Session
from msdiff.settings import Settings, check
from msdiff.spaces import Matrix, isotropic_grid, resample
from msdiff.template import load_template, template_brain


class AntsRegistrationOptions(Settings):
    """Options of `register`."""

    search: Search
    refinement: Refinement


class BiasOptions(Settings):
    """Options of `correct_bias`."""

    shrink_factor: int = Field(ge=1)
    spline_spacing_mm: float = Field(gt=0)
    iterations: tuple[int, ...] = Field(min_length=1)
    tolerance: float = Field(gt=0)
    margin_mm: float = Field(ge=0)


class AntsSkullOptions(Settings):
    """Options of `strip_skull`."""

    working_spacing_mm: float = Field(gt=0)
    margin_mm: float = Field(ge=0)
    deformation: Deformation


def register(
    fixed: Volume,
    moving: Volume,
    masks: RegistrationMasks,
    kind: Kind,
    start: Matrix | None,
    options: dict[str, object],
) -> Matrix:
    """A coarse search, then ANTs' descent on Mattes mutual information; contract as in registration.py."""
    settings = check(AntsRegistrationOptions, options, "registration.ants")
    if start is None:
        start = search(fixed, moving, masks.search, kind, settings.search)
    refined = antspy.refine(fixed, moving, masks.fit, kind, start, settings.refinement)
    return keep_better(fixed, moving, masks.fit, start, refined, settings.search.histogram_bins)


def correct_bias(volume: Volume, options: dict[str, object]) -> NDArray[np.float32]:
    """N4 inside the template's brain and a margin around it; contract as in bias.py."""
    settings = check(BiasOptions, options, "bias.ants")
    data = np.asarray(volume.data, dtype=np.float32)
    brain = ndimage.binary_dilation(template_brain(volume.grid), ball(volume.grid, settings.margin_mm))
    mask = brain & (data > 0.05 * np.percentile(data[brain], 95))
    field = antspy.correct_bias(
        volume,
        mask,
        shrink_factor=settings.shrink_factor,
        spline_spacing_mm=settings.spline_spacing_mm,
        iterations=settings.iterations,
        tolerance=settings.tolerance,
    )
    # Beyond the mask the spline is free to run off; the field there never leaves the range it has inside.
    field = np.clip(field, field[mask].min(), field[mask].max())
    return np.asarray(data / field * np.median(field[mask]), dtype=np.float32)


def strip_skull(session: Session, options: dict[str, object], threads: int) -> NDArray[np.bool_]:
    """The template's brain, bent onto the head; contract as in skull_stripping.py.

    The template has no skull. Mutual information in a thin shell around its brain pairs the template's nothing with
    the dark fluid and bone that surround a brain in every contrast but T2w, where it pairs it with bright fluid.
    """
    settings = check(AntsSkullOptions, options, "skull_stripping.ants")
    volume = session.image
    grid = isotropic_grid(volume.grid, settings.working_spacing_mm)
    fixed = resample(volume, grid, np.eye(4))
    template = load_template("t1", grid)
    brain = template_brain(grid)
    shell = ndimage.binary_dilation(brain, ball(grid, settings.margin_mm))
    ceiling = float(np.percentile(np.asarray(fixed.data)[brain], 99.5))
    clipped = Volume(np.clip(fixed.data, 0, ceiling), fixed.affine)
    maps = {"brain": Volume(brain.astype(np.float32), grid.affine)}
    bent = antspy.deform(clipped, template, shell, maps, settings.deformation)["brain"]
    on_grid = np.asarray(resample(bent, volume.grid, np.eye(4)).data) >= 0.5
    return np.asarray(ndimage.binary_fill_holes(largest_component(on_grid)))
