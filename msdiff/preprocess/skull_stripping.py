"""Skull-stripping: one brain mask per patient, from all sessions.

A backend is a function `strip(image, options) -> brain`: a volume on the common grid in MNI space, bias corrected, and
its options; it returns the brain as bool (X, Y, Z).
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from msdiff import backends
from msdiff.errors import BadInput
from msdiff.images import Grid, Volume
from msdiff.preprocess.options import split
from msdiff.settings import Choice, Settings

BACKENDS = {"ants": "msdiff.preprocess.ants:strip_skull", "plain": "msdiff.preprocess.plain:strip_skull"}

# T1w has the template's contrast, and a dark rim around the brain.
PREFERRED = ("t1w", "flair")
MM3_PER_ML = 1000.0


class BrainOptions(Settings):
    """Volumes between which a brain is believed, for every backend."""

    min_brain_ml: float = Field(gt=0)
    max_brain_ml: float = Field(gt=0)


def strip_skull(sessions: Sequence[Mapping[str, Volume]], choice: Choice, name: str) -> Volume:
    """One brain mask from a patient's sessions, each given by contrast.

    Raises BadInput, naming the patient's folder, where the brain's volume is not to be believed.
    """
    common, options = split(BrainOptions, choice.options, "skull_stripping")
    strip = backends.load(BACKENDS, choice.backend)
    images = [session[preferred_contrast(list(session))] for session in sessions]
    brain = majority([np.asarray(strip(image, options), dtype=np.bool_) for image in images])
    check_brain(brain, images[0].grid, common.min_brain_ml, common.max_brain_ml, name)
    return Volume(brain, images[0].affine)


def preferred_contrast(contrasts: Sequence[str]) -> str:
    """The contrast that shows the brain's edge best: T1w, else FLAIR, else the first by name."""
    return next((contrast for contrast in PREFERRED if contrast in contrasts), sorted(contrasts)[0])


def majority(masks: Sequence[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    """The voxels (X, Y, Z) that at least half of the masks hold."""
    return np.asarray(2 * np.sum(masks, axis=0, dtype=np.int32) >= len(masks))


def check_brain(brain: NDArray[np.bool_], grid: Grid, min_ml: float, max_ml: float, name: str) -> None:
    """Raise BadInput, naming a patient's folder, unless a brain's volume on the grid lies within limits in ml."""
    volume_ml = float(brain.sum()) * grid.voxel_volume_mm3 / MM3_PER_ML
    if not min_ml <= volume_ml <= max_ml:
        raise BadInput(
            f"{name}: expected a brain of {min_ml:g} to {max_ml:g} ml, found {volume_ml:.0f} ml; look at the "
            "registered scans, exclude the patient, or choose another backend"
        )
