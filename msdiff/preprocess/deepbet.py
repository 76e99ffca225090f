"""deepbet as a backend of skull-stripping: a network for T1w heads, weights in its package, on the CPU.

Fisch et al., Computers in Biology and Medicine 179, 2024. The image is scaled to 256 x 256 x 256 voxels around the
brain, so the time is the same on every grid.
"""

import warnings
from functools import cache
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from msdiff.errors import BadInput
from msdiff.preprocess.skull_stripping import Session
from msdiff.settings import Settings, check


class DeepbetOptions(Settings):
    """Options of `strip_skull`."""

    threshold: float = Field(gt=0, lt=1)


def strip_skull(session: Session, options: dict[str, object], threads: int) -> NDArray[np.bool_]:
    """The network's brain, its largest component, filled; contract as in skull_stripping.py."""
    import torch

    settings = check(DeepbetOptions, options, "skull_stripping.deepbet")
    torch.set_num_threads(threads)
    volume = session.image
    image = nib.Nifti1Image(np.asarray(volume.data, dtype=np.float32), volume.affine)
    try:
        _, mask, _ = _network().run(image, threshold=settings.threshold)
    except (AssertionError, ValueError) as error:
        # What it raises where no voxel, or next to none, looks like brain.
        raise BadInput("deepbet found no brain; look at the registered scan, or choose another backend") from error
    return np.asarray(mask.dataobj) > 0


@cache
def _network() -> Any:
    """The networks that find the brain's box, and the brain in it; read once for all sessions."""
    from deepbet import BrainExtraction

    with warnings.catch_warnings():
        # deepbet 1.0.2 reads its weights with torch.jit.load, which torch wants to retire.
        warnings.filterwarnings("ignore", message=".*torch.jit", category=DeprecationWarning)
        return BrainExtraction(no_gpu=True)
