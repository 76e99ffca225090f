"""ANTs behind volumes: affine and deformable registration by antspyx, repeatable to the bit on one thread.

ANTs sums its metric over threads in the order they finish, so bit equality needs one thread and a fixed seed
(`limit_threads(1)` before the first call; Avants et al., NeuroImage 54, 2011, for the method).
"""

import os
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from msdiff.images import Volume
from msdiff.settings import Settings
from msdiff.spaces import FLIP, Matrix, from_itk, itk_text

Kind = Literal["rigid", "affine"]
THREADS_VARIABLE = "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"


class Deformation(Settings):
    """How hard a deformable registration (SyN, mutual information) tries."""

    iterations: tuple[int, ...] = Field(min_length=1)
    gradient_step: float = Field(gt=0)
    flow_sigma_voxels: float = Field(ge=0)
    total_sigma_voxels: float = Field(ge=0)
    histogram_bins: int = Field(ge=8)
    seed: int = Field(ge=1)


class Refinement(Settings):
    """How hard a linear registration (Mattes mutual information) tries, coarsest level first."""

    iterations: tuple[int, ...] = Field(min_length=1)
    shrink_factors: tuple[int, ...] = Field(min_length=1)
    smoothing_sigmas_voxels: tuple[float, ...] = Field(min_length=1)
    sampling_rate: float = Field(gt=0, le=1)
    histogram_bins: int = Field(ge=8)
    seed: int = Field(ge=1)


def limit_threads(threads: int) -> None:
    """Give ITK this many threads; only works before antspyx is imported."""
    os.environ[THREADS_VARIABLE] = str(threads)


def allowed_threads() -> int:
    """The threads that `limit_threads` gave; one where it was not called."""
    return int(os.environ.get(THREADS_VARIABLE, "1"))


def to_ants(volume: Volume) -> Any:
    """A volume as an ANTs image, float32, in LPS+ mm."""
    import ants

    affine = FLIP @ volume.affine
    spacing = volume.grid.spacing_mm
    return ants.from_numpy(
        np.asarray(volume.data, dtype=np.float32),
        origin=affine[:3, 3].tolist(),
        spacing=spacing.tolist(),
        direction=affine[:3, :3] / spacing,
    )


def refine(
    fixed: Volume, moving: Volume, mask: NDArray[np.bool_], kind: Kind, start: Matrix, settings: Refinement
) -> Matrix:
    """The map (4, 4), fixed to moving in RAS+ mm, that ANTs finds from a start; the metric is taken in a fixed mask."""
    import ants

    with TemporaryDirectory() as folder:
        start_file = Path(folder) / "start.txt"
        start_file.write_text(itk_text(start))
        result = ants.registration(
            fixed=to_ants(fixed),
            moving=to_ants(moving),
            mask=to_ants(Volume(mask, fixed.affine)),
            mask_all_stages=True,
            type_of_transform={"rigid": "Rigid", "affine": "Affine"}[kind],
            initial_transform=[str(start_file)],
            aff_iterations=settings.iterations,
            aff_shrink_factors=settings.shrink_factors,
            aff_smoothing_sigmas=settings.smoothing_sigmas_voxels,
            aff_random_sampling_rate=settings.sampling_rate,
            aff_sampling=settings.histogram_bins,
            random_seed=settings.seed,
            outprefix=f"{folder}/refined_",
        )
        matrix = np.eye(4)
        for file in result["fwdtransforms"]:
            transform = ants.read_transform(file)
            # ANTs lists the map that acts on the fixed point last.
            matrix = matrix @ from_itk(np.asarray(transform.parameters), np.asarray(transform.fixed_parameters))
    return matrix


def deform(
    fixed: Volume, moving: Volume, mask: NDArray[np.bool_], maps: Mapping[str, Volume], settings: Deformation
) -> dict[str, Volume]:
    """Maps of the moving space (float), carried to the fixed grid by a smooth deformation from the identity.

    The mutual information of fixed and moving is taken inside a mask (X, Y, Z) on the fixed grid.
    """
    import ants

    with TemporaryDirectory() as folder:
        start_file = Path(folder) / "start.txt"
        start_file.write_text(itk_text(np.eye(4)))
        target = to_ants(fixed)
        result = ants.registration(
            fixed=target,
            moving=to_ants(moving),
            mask=to_ants(Volume(mask, fixed.affine)),
            type_of_transform="SyNOnly",
            initial_transform=[str(start_file)],
            syn_metric="mattes",
            syn_sampling=settings.histogram_bins,
            reg_iterations=settings.iterations,
            grad_step=settings.gradient_step,
            flow_sigma=settings.flow_sigma_voxels,
            total_sigma=settings.total_sigma_voxels,
            random_seed=settings.seed,
            outprefix=f"{folder}/deformed_",
        )
        carried = {
            name: ants.apply_transforms(target, to_ants(volume), result["fwdtransforms"], interpolator="linear")
            for name, volume in maps.items()
        }
    return {name: Volume(image.numpy(), fixed.affine) for name, image in carried.items()}


def correct_bias(
    volume: Volume,
    mask: NDArray[np.bool_],
    *,
    shrink_factor: int,
    spline_spacing_mm: float,
    iterations: tuple[int, ...],
    tolerance: float,
) -> NDArray[np.float32]:
    """The bias field (X, Y, Z), positive, that N4 finds inside a mask (Tustison et al., IEEE TMI 29, 2010)."""
    import ants

    field = ants.n4_bias_field_correction(
        to_ants(volume),
        mask=to_ants(Volume(mask, volume.affine)),
        shrink_factor=shrink_factor,
        convergence={"iters": list(iterations), "tol": tolerance},
        spline_param=spline_spacing_mm,
        return_bias_field=True,
    )
    return np.asarray(field.numpy(), dtype=np.float32)
