"""Three classes of intensity inside the brain (k-means in one dimension), with numpy alone.

Lesions count with the class they look like: this is for machines without ANTs, and for a first look.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage

from msdiff.parcellation.regions import TISSUES, MniScan, label
from msdiff.patients import preferred_contrast
from msdiff.settings import Settings, check

# Tissues from dark to bright. In FLAIR grey matter is the brighter one of the two.
ORDERS = {
    "t1w": ("fluid", "grey_matter", "white_matter"),
    "flair": ("fluid", "white_matter", "grey_matter"),
    "t2w": ("white_matter", "grey_matter", "fluid"),
}


class PlainOptions(Settings):
    """Options of `load`."""

    smoothing_mm: float = Field(ge=0)
    rounds: int = Field(ge=1)


def load(options: dict[str, object], threads: int) -> Callable[[MniScan], NDArray[np.int32]]:
    """The contract is in regions.py; one thread is used."""
    return partial(parcellate, settings=check(PlainOptions, options, "parcellation.plain"))


def parcellate(scan: MniScan, settings: PlainOptions) -> NDArray[np.int32]:
    """The class of each brain voxel's smoothed intensity, as labels (X, Y, Z)."""
    contrast = preferred_contrast(list(scan.normalised))
    image, brain = scan.normalised[contrast], scan.brain
    data = np.asarray(image.data, dtype=np.float32)
    sigma = settings.smoothing_mm / image.grid.spacing_mm
    # Averages over the brain only, so that what is outside does not darken its edge.
    weight = np.maximum(ndimage.gaussian_filter(brain.astype(np.float32), sigma), 1e-6)
    values = (ndimage.gaussian_filter(np.where(brain, data, 0), sigma) / weight)[brain]
    means = np.quantile(values, (0.1, 0.5, 0.9))
    for _ in range(settings.rounds):
        classes = np.digitize(values, (means[:-1] + means[1:]) / 2)
        means = np.array([values[classes == k].mean() if (classes == k).any() else means[k] for k in range(3)])
    classes = np.digitize(values, (means[:-1] + means[1:]) / 2)
    order = np.array([TISSUES[name] for name in ORDERS.get(contrast, ORDERS["t1w"])], dtype=np.uint8)
    tissue = np.zeros(brain.shape, dtype=np.uint8)
    tissue[brain] = order[classes]
    return label(tissue, image.grid)
