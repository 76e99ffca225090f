"""Brains that come with the scans, as backends of skull-stripping: as masks, or as images without skull."""

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage

from msdiff.errors import BadInput
from msdiff.images import Volume
from msdiff.preprocess.shapes import close_gaps, largest_component
from msdiff.preprocess.skull_stripping import Session
from msdiff.settings import Settings, check
from msdiff.template import template_brain


class GivenOptions(Settings):
    """`given` has none of its own."""


class StrippedOptions(Settings):
    """Options of `stripped`."""

    threshold: float = Field(gt=0, lt=1)
    closing_mm: float = Field(ge=0)


def given(session: Session, options: dict[str, object], threads: int) -> NDArray[np.bool_]:
    """The session's own mask, from the sheet's column brain_mask; contract as in skull_stripping.py."""
    check(GivenOptions, options, "skull_stripping.given")
    if session.brain is None:
        raise BadInput(
            "expected a brain mask, the sheet's column brain_mask is empty; fill it, or choose another backend"
        )
    return session.brain


def stripped(session: Session, options: dict[str, object], threads: int) -> NDArray[np.bool_]:
    """What is background in no contrast of scans that came without skull; contract as in skull_stripping.py.

    Contrasts are mostly stripped one by one, and now and then an eye stays in one of them, not in all. Fluid may be as
    dark as the background: what it parts is joined again. Read from the images before bias correction, since a field
    over a background that is not 0 is not constant.
    """
    settings = check(StrippedOptions, options, "skull_stripping.stripped")
    shown = [_shown(image, settings.threshold) for image in session.registered.values()]
    grid = next(iter(session.registered.values())).grid
    whole = close_gaps(largest_component(np.all(shown, axis=0)), grid, settings.closing_mm)
    return np.asarray(ndimage.binary_fill_holes(whole))


def _shown(image: Volume, threshold: float) -> NDArray[np.bool_]:
    """Voxels (X, Y, Z) above the background, the most frequent value, by a part of the brain's median over it.

    Splines leave values a little below the background beside the brain, and linear interpolation a soft edge.
    """
    data = np.asarray(image.data)
    values, counts = np.unique(data, return_counts=True)
    background = values[counts.argmax()]
    inside = data[template_brain(image.grid)]
    return np.asarray(data > background + threshold * (np.median(inside) - background))
