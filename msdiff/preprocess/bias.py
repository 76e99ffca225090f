"""Bias correction: the slow change of brightness over the head that the coil leaves in an image.

A backend is a function `correct(image, options) -> data`: a volume on the common grid in MNI space, and its options; it
returns float32 (X, Y, Z) without the field, in the image's units.
"""

import numpy as np
from numpy.typing import NDArray

from msdiff import backends
from msdiff.images import Volume
from msdiff.settings import Choice, Settings, check

BACKENDS = {
    "ants": "msdiff.preprocess.ants:correct_bias",
    "none": "msdiff.preprocess.bias:keep",
}


class NoOptions(Settings):
    """A backend without options."""


def correct_bias(image: Volume, choice: Choice) -> Volume:
    """An image without its bias field, on the same grid."""
    return Volume(backends.load(BACKENDS, choice.backend)(image, choice.options), image.affine)


def keep(image: Volume, options: dict[str, object]) -> NDArray[np.float32]:
    """The image as it is, for scans that were corrected before."""
    check(NoOptions, options, "bias.none")
    return np.asarray(image.data, dtype=np.float32)
