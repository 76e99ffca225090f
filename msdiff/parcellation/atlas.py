"""The template's tissue maps, bent onto the patient (SyN; Avants et al., Medical Image Analysis 12, 2008).

The label comes from the map alone, never from the intensity: a lesion darkens white matter on T1w until it looks like
cortex, but a smooth deformation leaves it where white matter is.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from msdiff import antspy
from msdiff.antspy import Deformation
from msdiff.images import Volume
from msdiff.parcellation.regions import TISSUES, MniScan, label
from msdiff.patients import preferred_contrast
from msdiff.settings import Settings, check
from msdiff.template import load_template


class AtlasOptions(Settings):
    """Options of `load`."""

    deformation: Deformation


def load(options: dict[str, object], threads: int) -> Callable[[MniScan], NDArray[np.int32]]:
    """The contract is in regions.py."""
    settings = check(AtlasOptions, options, "parcellation.atlas")
    antspy.limit_threads(threads)
    return partial(parcellate, settings=settings)


def parcellate(scan: MniScan, settings: AtlasOptions) -> NDArray[np.int32]:
    """The most probable tissue of the bent maps, as labels (X, Y, Z)."""
    image, brain = scan.normalised[preferred_contrast(list(scan.normalised))], scan.brain
    grid = image.grid
    maps = {name: load_template(name, grid) for name in ("gm", "wm")}
    # Zero outside the brain, as in the template.
    fixed = Volume(np.where(brain, np.asarray(image.data) + 1, 0).astype(np.float32), image.affine)
    mask = np.asarray(ndimage.binary_dilation(brain, iterations=2))
    bent = antspy.deform(fixed, load_template("t1", grid), mask, maps, settings.deformation)
    return most_probable(bent["gm"], bent["wm"])


def most_probable(grey_matter: Volume, white_matter: Volume) -> NDArray[np.int32]:
    """Labels (X, Y, Z) of the most probable tissue of two maps in [0, 1]; what both leave is fluid."""
    grey, white = (np.clip(np.asarray(volume.data), 0, 1) for volume in (grey_matter, white_matter))
    fluid = np.clip(1 - grey - white, 0, 1)
    order = [TISSUES["fluid"], TISSUES["grey_matter"], TISSUES["white_matter"]]
    return label(np.array(order, dtype=np.uint8)[np.argmax([fluid, grey, white], axis=0)], grey_matter.grid)
