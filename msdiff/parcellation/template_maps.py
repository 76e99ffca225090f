"""The template's tissue maps, unchanged, for patients that lie on it: simulated or brought there with their shape.

Nothing is fitted, so a patient's own folds are not met: by some millimetres, as far as shapes differ.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from msdiff.images import Grid
from msdiff.parcellation.atlas import most_probable
from msdiff.parcellation.regions import MniScan
from msdiff.settings import Settings, check
from msdiff.template import load_template


class TemplateOptions(Settings):
    """No options."""


def load(options: dict[str, object], threads: int) -> Callable[[MniScan], NDArray[np.int32]]:
    """The contract is in regions.py; one thread is used."""
    check(TemplateOptions, options, "parcellation.template")
    return parcellate


def parcellate(scan: MniScan) -> NDArray[np.int32]:
    """The most probable tissue of the template's maps, as labels (X, Y, Z)."""
    grid = next(iter(scan.normalised.values())).grid
    return _labels(grid.shape, tuple(grid.affine.ravel().tolist()))


@lru_cache(maxsize=1)
def _labels(shape: tuple[int, int, int], affine: tuple[float, ...]) -> NDArray[np.int32]:
    """The same for all patients on a grid."""
    grid = Grid(shape, np.reshape(affine, (4, 4)))
    return most_probable(load_template("gm", grid), load_template("wm", grid))
