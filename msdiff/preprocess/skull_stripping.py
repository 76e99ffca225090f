"""Skull-stripping: one brain mask per patient, from all sessions.

A backend is a function `strip(session, options, threads) -> brain`: a session on the common grid in MNI space, its
options, and how many threads it may use; it returns the brain as bool (X, Y, Z).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from msdiff import backends
from msdiff.errors import BadInput
from msdiff.images import Grid, Volume
from msdiff.patients import preferred_contrast
from msdiff.preprocess.options import split
from msdiff.settings import Choice, Settings

BACKENDS = {
    "deepbet": "msdiff.preprocess.deepbet:strip_skull",
    "ants": "msdiff.preprocess.ants:strip_skull",
    "plain": "msdiff.preprocess.plain:strip_skull",
    "hd_bet": "msdiff.preprocess.brain_commands:hd_bet",
    "synthstrip": "msdiff.preprocess.brain_commands:synthstrip",
    "given": "msdiff.preprocess.known_brains:given",
    "stripped": "msdiff.preprocess.known_brains:stripped",
}

MM3_PER_ML = 1000.0


class BrainOptions(Settings):
    """Volumes between which a brain is believed, for every backend."""

    min_brain_ml: float = Field(gt=0)
    max_brain_ml: float = Field(gt=0)


class Session(NamedTuple):
    """One session on the common grid: images by contrast, with and without their bias field, and its own brain mask.

    `brain` is bool (X, Y, Z), or None where the scans came without one.
    """

    registered: Mapping[str, Volume]
    corrected: Mapping[str, Volume]
    brain: NDArray[np.bool_] | None

    @property
    def image(self) -> Volume:
        """The corrected image that shows the brain's edge best."""
        return self.corrected[preferred_contrast(list(self.corrected))]


def strip_skull(sessions: Mapping[str, Session], choice: Choice, threads: int, name: str) -> Volume:
    """One brain mask from a patient's sessions, given by their names.

    Raises BadInput, naming the patient's folder, where a session's brain is not found, or where the volume of the
    patient's is not to be believed.
    """
    common, options = split(BrainOptions, choice.options, "skull_stripping")
    strip = backends.load(BACKENDS, choice.backend)
    masks = []
    for session, scans in sessions.items():
        try:
            masks.append(np.asarray(strip(scans, options, threads), dtype=np.bool_))
        except BadInput as error:
            raise BadInput(f"{name}: {session}: {error}") from error
    image = next(iter(sessions.values())).image
    brain = majority(masks)
    check_brain(brain, image.grid, common.min_brain_ml, common.max_brain_ml, name)
    return Volume(brain, image.affine)


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
