"""The MNI152 head that nilearn ships: a brain-extracted T1 and maps of grey and white matter, 1 mm, RAS+.

ICBM 2009a nonlinear symmetric, 197 x 233 x 189 voxels (Fonov et al., NeuroImage 54, 2011). Only nilearn's files are
used: finding them does not import nilearn, which takes seconds.
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from msdiff.errors import BadInput
from msdiff.images import Grid, Volume, load_image
from msdiff.spaces import resample

FILES = {
    "t1": "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz",
    "gm": "mni_icbm152_gm_tal_nlin_sym_09a_converted.nii.gz",
    "wm": "mni_icbm152_wm_tal_nlin_sym_09a_converted.nii.gz",
}
FILE_MAXIMUM = 255


def template_path(name: str) -> Path:
    """Where the installed nilearn keeps the map `t1`, `gm` or `wm`; BadInput where nilearn is not installed."""
    spec = find_spec("nilearn")
    folders = list(spec.submodule_search_locations or []) if spec else []
    for folder in folders:
        path = Path(folder) / "datasets" / "data" / FILES[name]
        if path.is_file():
            return path
    raise BadInput(f"MNI152 template {FILES[name]}: expected it in the package nilearn; install nilearn 0.13.1")


def load_template(name: str, grid: Grid | None = None) -> Volume:
    """The map `t1`, `gm` or `wm` as float32 in [0, 1], on its own 1 mm grid or on `grid` (RAS+ mm in MNI space)."""
    volume = _read(template_path(name))
    return volume if grid is None else resample(volume, grid, np.eye(4))


def template_brain(grid: Grid) -> NDArray[np.bool_]:
    """The template's brain, its fluid spaces included, as bool (X, Y, Z) on a grid in MNI space."""
    volume = load_template("t1")
    brain = Volume((np.asarray(volume.data) > 0).astype(np.float32), volume.affine)
    return np.asarray(resample(brain, grid, np.eye(4)).data) >= 0.5


@cache
def _read(path: Path) -> Volume:
    """A map as float32 in [0, 1], read once: commands ask for it once per image; nobody may write to it."""
    volume = load_image(path)
    data = np.asarray(volume.data, dtype=np.float32) / FILE_MAXIMUM
    data.flags.writeable = False
    return Volume(data, volume.affine)
