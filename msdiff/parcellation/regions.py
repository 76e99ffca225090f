"""Brain regions of a patient, by FreeSurfer's codes.

A backend is a function `load(options, threads) -> parcellate`, so that a model is loaded once for many scans, and
`parcellate(scan) -> labels` gives codes of LABELS as int32 (X, Y, Z) on the scan's grid. Where one call of a program
serves many scans, `parcellate.many(scans)` yields the labels of each instead. What lies outside the brain mask is set
to 0 here, and every map is checked, whatever made it.

Some backends know tissues only: there `Left-Cerebral-Cortex` holds all grey matter of its side,
`Left-Cerebral-White-Matter` all white matter, deep nuclei, cerebellum and brainstem included, and `CSF` all fluid.
"""

import logging
from collections import deque
from collections.abc import Iterable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from msdiff import backends
from msdiff.errors import BadInput
from msdiff.images import Grid, Volume
from msdiff.settings import Choice, Settings

log = logging.getLogger(__name__)

BACKENDS = {
    "atlas": "msdiff.parcellation.atlas:load",
    "plain": "msdiff.parcellation.plain:load",
    "template": "msdiff.parcellation.template_maps:load",
    "synthseg": "msdiff.parcellation.synthseg:load",
    "freesurfer": "msdiff.parcellation.freesurfer:load",
    "samseg": "msdiff.parcellation.samseg:load",
}

# The 33 codes of SynthSeg 2.0 (Billot et al., Medical Image Analysis 86, 2023), named as in FreeSurferColorLUT.txt.
LABELS = {
    0: "Unknown",
    2: "Left-Cerebral-White-Matter",
    3: "Left-Cerebral-Cortex",
    4: "Left-Lateral-Ventricle",
    5: "Left-Inf-Lat-Vent",
    7: "Left-Cerebellum-White-Matter",
    8: "Left-Cerebellum-Cortex",
    10: "Left-Thalamus",
    11: "Left-Caudate",
    12: "Left-Putamen",
    13: "Left-Pallidum",
    14: "3rd-Ventricle",
    15: "4th-Ventricle",
    16: "Brain-Stem",
    17: "Left-Hippocampus",
    18: "Left-Amygdala",
    24: "CSF",
    26: "Left-Accumbens-area",
    28: "Left-VentralDC",
    41: "Right-Cerebral-White-Matter",
    42: "Right-Cerebral-Cortex",
    43: "Right-Lateral-Ventricle",
    44: "Right-Inf-Lat-Vent",
    46: "Right-Cerebellum-White-Matter",
    47: "Right-Cerebellum-Cortex",
    49: "Right-Thalamus",
    50: "Right-Caudate",
    51: "Right-Putamen",
    52: "Right-Pallidum",
    53: "Right-Hippocampus",
    54: "Right-Amygdala",
    58: "Right-Accumbens-area",
    60: "Right-VentralDC",
}

# Cerebral white matter and cortex, left and right: in every brain, and known to every backend.
ALWAYS = (2, 3, 41, 42)

TISSUES = {"fluid": 1, "grey_matter": 2, "white_matter": 3}
SIDES = {"fluid": (24, 24), "grey_matter": (3, 42), "white_matter": (2, 41)}

MM3_PER_ML = 1000.0


class VolumeLimits(Settings):
    """Volumes between which all regions together are believed, fluid included."""

    min_brain_ml: float = Field(gt=0)
    max_brain_ml: float = Field(gt=0)


class ParcellationSettings(Choice):
    """What the command `parcellate` takes."""

    limits: VolumeLimits


class MniScan(NamedTuple):
    """A session of a patient on the common grid in MNI space.

    normalised  images by contrast, in [-1, 1] inside the brain and -1 outside
    heads       the same contrasts before skull-stripping, bias corrected, in the scanner's units
    brain       the brain mask (X, Y, Z)
    """

    normalised: dict[str, Volume]
    heads: dict[str, Volume]
    brain: NDArray[np.bool_]


def parcellate(
    scans: Iterable[tuple[str, MniScan]], settings: ParcellationSettings, threads: int
) -> Iterator[tuple[str, Volume]]:
    """Region labels int32 (X, Y, Z) of named scans, 0 outside the brain, each when it is done; one load of the model.

    Raises BadInput after the last scan, naming every one whose labels are not to be believed.
    """
    backend = backends.load(BACKENDS, settings.backend)(settings.options, threads)
    # A backend may read many scans before it yields the first labels; their images need not wait in memory.
    waiting: deque[tuple[str, Volume]] = deque()

    def passing() -> Iterator[MniScan]:
        for name, scan in scans:
            waiting.append((name, Volume(scan.brain, next(iter(scan.normalised.values())).affine)))
            yield scan

    faults = []
    for labels in getattr(backend, "many", partial(map, backend))(passing()):
        name, brain = waiting.popleft()
        found = Volume(np.where(brain.data, labels, 0).astype(np.int32), brain.affine)
        fault = fault_of(found, settings.limits)
        if fault:
            faults.append(f"{name}: {fault}")
        else:
            share = np.count_nonzero(found.data) / np.count_nonzero(brain.data)
            log.info("%s: labels cover %.0f %% of the brain mask", name, 100 * share)
            yield name, found
    if faults:
        raise BadInput(
            f"backend {settings.backend}: {'; '.join(faults)}; look at the corrected scans and the brain mask, exclude "
            "the scan, or choose another backend"
        )


def fault_of(labels: Volume, limits: VolumeLimits) -> str:
    """Why a label map is not to be believed, or nothing."""
    unknown = np.setdiff1d(labels.data, list(LABELS))
    if unknown.size:
        return f"expected FreeSurfer's codes of LABELS, found {unknown[:3].tolist()}"
    volume_ml = np.count_nonzero(labels.data) * labels.grid.voxel_volume_mm3 / MM3_PER_ML
    if not limits.min_brain_ml <= volume_ml <= limits.max_brain_ml:
        return f"expected {limits.min_brain_ml:g} to {limits.max_brain_ml:g} ml in all regions, found {volume_ml:.0f}"
    absent = [LABELS[code] for code in ALWAYS if not (labels.data == code).any()]
    return f"expected some of every tissue, found no {', '.join(absent)}" if absent else ""


def label(tissue: NDArray[np.uint8], grid: Grid) -> NDArray[np.int32]:
    """Region labels (X, Y, Z) of TISSUES' numbers (X, Y, Z), divided at x = 0 of MNI space, left where x < 0."""
    x, y, z = np.ogrid[: grid.shape[0], : grid.shape[1], : grid.shape[2]]
    x_mm = grid.affine[0, 0] * x + grid.affine[0, 1] * y + grid.affine[0, 2] * z + grid.affine[0, 3]
    left = np.broadcast_to(x_mm < 0, grid.shape)
    labels = np.zeros(grid.shape, dtype=np.int32)
    for name, number in TISSUES.items():
        for side, code in zip((left, ~left), SIDES[name], strict=True):
            labels[(tissue == number) & side] = code
    return labels


def volumes(labels: Volume) -> pd.DataFrame:
    """Volumes in mm3 of the regions that a map holds: columns region, label, volume_mm3."""
    codes, counts = np.unique(np.asarray(labels.data), return_counts=True)
    rows = [
        (LABELS[code], code, float(count) * labels.grid.voxel_volume_mm3)
        for code, count in zip(codes.tolist(), counts.tolist(), strict=True)
        if code
    ]
    return pd.DataFrame(rows, columns=["region", "label", "volume_mm3"])
