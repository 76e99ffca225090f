"""Brain regions of a patient, by FreeSurfer's codes.

Backends know tissues only: `cerebral_cortex` holds all grey matter and `cerebral_white_matter` all white matter, deep
nuclei, cerebellum and brainstem included. Left and right divide at the template's midsagittal plane, x < 0 on the left.

A backend is a function `parcellate(image, contrast, brain, options) -> tissue`: a normalised volume on the common grid
in MNI space, its contrast, the brain (X, Y, Z), and its options; it returns TISSUES' numbers as uint8 (X, Y, Z), 0
outside the brain.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from msdiff import backends
from msdiff.images import Grid, Volume
from msdiff.settings import Choice

BACKENDS = {"atlas": "msdiff.parcellation.atlas:parcellate", "plain": "msdiff.parcellation.plain:parcellate"}

TISSUES = {"fluid": 1, "grey_matter": 2, "white_matter": 3}

# Names and codes of FreeSurferColorLUT.txt.
REGIONS = {
    "left_cerebral_white_matter": 2,
    "left_cerebral_cortex": 3,
    "csf": 24,
    "right_cerebral_white_matter": 41,
    "right_cerebral_cortex": 42,
}

# T1w tells grey from white best.
PREFERRED = ("t1w", "flair")


def parcellate(images: dict[str, Volume], brain: NDArray[np.bool_], choice: Choice) -> Volume:
    """Region labels uint8 (X, Y, Z) of a patient's normalised baseline, given by contrast; 0 outside the brain."""
    contrast = next((name for name in PREFERRED if name in images), sorted(images)[0])
    image = images[contrast]
    tissue = backends.load(BACKENDS, choice.backend)(image, contrast, brain, choice.options)
    return Volume(label(tissue, image.grid), image.affine)


def label(tissue: NDArray[np.uint8], grid: Grid) -> NDArray[np.uint8]:
    """Region labels (X, Y, Z) of tissue numbers (X, Y, Z) on a grid in MNI space."""
    x, y, z = np.ogrid[: grid.shape[0], : grid.shape[1], : grid.shape[2]]
    x_mm = grid.affine[0, 0] * x + grid.affine[0, 1] * y + grid.affine[0, 2] * z + grid.affine[0, 3]
    left = np.broadcast_to(x_mm < 0, grid.shape)
    labels = np.zeros(grid.shape, dtype=np.uint8)
    labels[tissue == TISSUES["fluid"]] = REGIONS["csf"]
    for name, region in (("grey_matter", "cerebral_cortex"), ("white_matter", "cerebral_white_matter")):
        labels[(tissue == TISSUES[name]) & left] = REGIONS[f"left_{region}"]
        labels[(tissue == TISSUES[name]) & ~left] = REGIONS[f"right_{region}"]
    return labels


def volumes(labels: Volume) -> pd.DataFrame:
    """Volumes in mm3 of all regions: columns region, label, volume_mm3."""
    counts = np.bincount(np.asarray(labels.data, dtype=np.int64).ravel(), minlength=max(REGIONS.values()) + 1)
    rows = [(name, code, float(counts[code]) * labels.grid.voxel_volume_mm3) for name, code in REGIONS.items()]
    return pd.DataFrame(rows, columns=["region", "label", "volume_mm3"])
