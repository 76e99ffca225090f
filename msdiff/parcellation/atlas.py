"""The template's tissue maps, bent onto the patient (SyN; Avants et al., Medical Image Analysis 12, 2008).

The label comes from the map alone, never from the intensity: a lesion darkens white matter on T1w until it looks like
cortex, but a smooth deformation leaves it where white matter is.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from msdiff import antspy
from msdiff.antspy import Deformation
from msdiff.images import Volume
from msdiff.parcellation.regions import TISSUES
from msdiff.settings import Settings, check
from msdiff.template import load_template


class AtlasOptions(Settings):
    """Options of `parcellate`."""

    deformation: Deformation


def parcellate(image: Volume, contrast: str, brain: NDArray[np.bool_], options: dict[str, object]) -> NDArray[np.uint8]:
    """The most probable tissue of the bent maps; contract as in regions.py."""
    settings = check(AtlasOptions, options, "parcellation.atlas")
    grid = image.grid
    maps = {name: load_template(name, grid) for name in ("gm", "wm")}
    # Zero outside the brain, as in the template.
    fixed = Volume(np.where(brain, np.asarray(image.data) + 1, 0).astype(np.float32), image.affine)
    mask = np.asarray(ndimage.binary_dilation(brain, iterations=2))
    bent = antspy.deform(fixed, load_template("t1", grid), mask, maps, settings.deformation)
    grey, white = (np.clip(np.asarray(bent[name].data), 0, 1) for name in ("gm", "wm"))
    fluid = np.clip(1 - grey - white, 0, 1)
    order = [TISSUES["fluid"], TISSUES["grey_matter"], TISSUES["white_matter"]]
    tissue = np.array(order, dtype=np.uint8)[np.argmax([fluid, grey, white], axis=0)]
    return np.asarray(np.where(brain, tissue, 0).astype(np.uint8))
