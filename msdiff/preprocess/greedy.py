"""Greedy as a backend of registration: PICSL's fast descent (Yushkevich et al., Alzheimer's & Dementia 12, 2016)."""

import io
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from pydantic import Field

from msdiff.antspy import Kind, allowed_threads
from msdiff.images import Volume
from msdiff.preprocess.search import RegistrationMasks, Search, keep_better, search
from msdiff.settings import Settings, check
from msdiff.spaces import FLIP, Matrix

DEGREES_OF_FREEDOM = {"rigid": 6, "affine": 12}


class Descent(Settings):
    """How hard Greedy tries: at most so many steps per level, coarsest first, each with voxels of half the size."""

    iterations: tuple[int, ...] = Field(min_length=1)
    seed: int = Field(ge=1)


class GreedyRegistrationOptions(Settings):
    """Options of `register`."""

    search: Search
    descent: Descent


def register(
    fixed: Volume,
    moving: Volume,
    masks: RegistrationMasks,
    kind: Kind,
    start: Matrix | None,
    options: dict[str, object],
) -> Matrix:
    """A coarse search, then Greedy's descent; contract as in registration.py."""
    settings = check(GreedyRegistrationOptions, options, "registration.greedy")
    if start is None:
        start = search(fixed, moving, masks.search, kind, settings.search)
    refined = descend(fixed, moving, Volume(masks.fit, fixed.affine), kind, start, settings.descent)
    return keep_better(fixed, moving, masks.fit, start, refined, settings.search.histogram_bins)


def descend(fixed: Volume, moving: Volume, mask: Volume, kind: Kind, start: Matrix, settings: Descent) -> Matrix:
    """The map (4, 4), fixed to moving in RAS+ mm, that Greedy finds from a start.

    Normalised mutual information is taken inside a fixed mask. Repeatable to the bit on one thread.
    """
    from picsl_greedy import Greedy3D

    steps = "x".join(map(str, settings.iterations))
    tool = Greedy3D()
    with TemporaryDirectory() as folder:
        # Matrices are read from files only; images and the result stay in memory.
        start_file = Path(folder) / "start.txt"
        np.savetxt(start_file, start)
        tool.execute(
            f'-a -dof {DEGREES_OF_FREEDOM[kind]} -i fixed moving -gm mask -ia "{start_file}" -m NMI -n {steps} '
            f"-seed {settings.seed} -threads {allowed_threads()} -V 0 -o map",
            out=io.StringIO(),
            err=io.StringIO(),
            fixed=_to_itk(fixed),
            moving=_to_itk(moving),
            mask=_to_itk(mask),
            map=None,
        )
    return np.asarray(tool["map"], dtype=np.float64)


def _to_itk(volume: Volume) -> Any:
    """A volume as a SimpleITK image, float32, in LPS+ mm."""
    import SimpleITK

    affine = FLIP @ volume.affine
    spacing_mm = volume.grid.spacing_mm
    image = SimpleITK.GetImageFromArray(np.asarray(volume.data, dtype=np.float32).T)
    image.SetSpacing(spacing_mm.tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetDirection((affine[:3, :3] / spacing_mm).ravel().tolist())
    return image
