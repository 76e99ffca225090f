"""Images in and out, checked at the border: a volume is an array (X, Y, Z) and its RAS+ affine in mm.

Everything behind the border may trust that a volume is three-dimensional, finite, not empty and on an invertible grid.
"""

from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from msdiff.errors import BadInput
from msdiff.writing import whole_file

# Published masks and images of one scan differ in the seventh digit of their headers.
GRID_TOLERANCE_MM = 0.01
# Value of a normalised scan outside the brain.
BACKGROUND = -1.0


class Grid(NamedTuple):
    """Where voxels lie: shape (X, Y, Z) and the affine (4, 4) from voxel indices to RAS+ mm."""

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]

    @property
    def spacing_mm(self) -> NDArray[np.float64]:
        """Voxel size (3,) in mm."""
        return np.asarray(np.linalg.norm(self.affine[:3, :3], axis=0))

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of one voxel in mm3."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))


class Volume(NamedTuple):
    """An image, a mask or a label map: data (X, Y, Z) and the affine (4, 4) to RAS+ mm."""

    data: NDArray[np.generic]
    affine: NDArray[np.float64]

    @property
    def grid(self) -> Grid:
        """The grid the data lie on."""
        x, y, z = self.data.shape
        return Grid((x, y, z), self.affine)


def axis_aligned_grid(
    shape: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
    centre_mm: tuple[float, float, float],
) -> Grid:
    """A grid whose axes run to the right, anterior and superior, around a centre in RAS+ mm."""
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = np.asarray(centre_mm) - np.asarray(spacing_mm) * (np.asarray(shape) - 1) / 2
    return Grid(shape, affine)


def load_image(path: str | Path) -> Volume:
    """Read intensities as float32 (X, Y, Z), in the units of the file.

    Raises BadInput where the file is missing, not NIfTI, not three-dimensional, not finite, empty (one value
    everywhere) or has a singular affine.
    """
    volume = _load(path)
    data = np.asarray(volume.data, dtype=np.float32)
    if not np.isfinite(data).all():
        raise BadInput(f"{path}: expected finite intensities, got NaN or Inf; repair or exclude the scan")
    if data.size == 0 or data.min() == data.max():
        raise BadInput(f"{path}: expected an image, got the same value in every voxel; exclude the scan")
    return Volume(data, volume.affine)


def load_grid(path: str | Path) -> Grid:
    """Where the voxels of a file lie, from its header; BadInput where it cannot be read or is not three-dimensional."""
    image = _open(path)
    x, y, z = image.shape[:3]
    return Grid((x, y, z), np.asarray(image.affine, dtype=np.float64))


def load_mask(path: str | Path, grid: Grid | None = None) -> Volume:
    """Read a mask as bool (X, Y, Z); it may be all false.

    Raises BadInput as `load_image` does, where values other than 0 and 1 occur, and where the mask does not lie on
    `grid` (when one is given).
    """
    volume = _load(path)
    if not np.isin(volume.data, (0, 1)).all():
        others = np.setdiff1d(np.unique(volume.data), (0, 1))[:3]
        raise BadInput(f"{path}: expected a mask of 0 and 1, got values such as {others.tolist()}")
    if grid is not None:
        check_grid(volume.grid, grid, str(path))
    return Volume(volume.data.astype(bool), volume.affine)


def load_labels(path: str | Path, grid: Grid | None = None) -> Volume:
    """Read a label map as int32 (X, Y, Z).

    Raises BadInput as `load_image` does, where a label is not a whole number, and where the map does not lie on `grid`.
    """
    volume = _load(path)
    labels = np.asarray(np.rint(volume.data), dtype=np.int32)
    if not np.array_equal(labels, volume.data):
        raise BadInput(f"{path}: expected whole-number labels, got fractions; was the map interpolated?")
    if grid is not None:
        check_grid(volume.grid, grid, str(path))
    return Volume(labels, volume.affine)


def save(volume: Volume, path: str | Path) -> None:
    """Write a volume as NIfTI: bool and small labels as uint8, int32 as int16, the rest as float32."""
    data = volume.data
    if data.dtype == bool:
        data = data.astype(np.uint8)
    elif np.issubdtype(data.dtype, np.integer) and data.dtype != np.uint8:
        data = data.astype(np.int16)
    elif np.issubdtype(data.dtype, np.floating):
        data = data.astype(np.float32)
    image = nib.Nifti1Image(data, volume.affine)
    image.header.set_xyzt_units("mm", "sec")
    with whole_file(path) as temporary:
        nib.save(image, temporary)


def check_grid(grid: Grid, expected: Grid, name: str) -> None:
    """Raise BadInput unless both grids have one shape and every corner agrees within GRID_TOLERANCE_MM per voxel."""
    if grid.shape != expected.shape:
        raise BadInput(
            f"{name}: expected the grid of its image, {expected.shape} voxels, got {grid.shape}; "
            "give a mask drawn on that image, or resample it to the image's grid"
        )
    offset_mm = np.abs(grid.affine - expected.affine)[:3] @ np.array([*grid.shape, 1.0])
    if offset_mm.max() > GRID_TOLERANCE_MM * max(grid.shape):
        raise BadInput(
            f"{name}: expected the grid of its image, got one that lies up to {offset_mm.max():.1f} mm away; "
            "give a mask drawn on that image, or resample it to the image's grid"
        )


def _load(path: str | Path) -> Volume:
    image = _open(path)
    try:
        data = np.asanyarray(image.dataobj)
    except (EOFError, OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    return Volume(data.reshape(data.shape[:3]), np.asarray(image.affine, dtype=np.float64))


def _open(path: str | Path) -> nib.Nifti1Image:
    """A file's header, checked; voxels are not read."""
    if not Path(path).is_file():
        raise BadInput(f"{path}: no such file; correct the path in the scan sheet")
    try:
        image = nib.load(path)
        if not isinstance(image, nib.Nifti1Image):
            raise nib.filebasedimages.ImageFileError(f"it is {type(image).__name__}")
    except (nib.filebasedimages.ImageFileError, EOFError, OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    if len(image.shape) != 3 and not (len(image.shape) == 4 and image.shape[3] == 1):
        raise BadInput(f"{path}: expected a 3-D image, got shape {image.shape}; extract one volume")
    if not np.isfinite(image.affine).all() or abs(np.linalg.det(image.affine[:3, :3])) < 1e-9:
        raise BadInput(f"{path}: expected an invertible affine, got a singular one; repair the header")
    return image


def _unreadable(path: str | Path, error: Exception) -> BadInput:
    return BadInput(f"{path}: expected a NIfTI image (.nii, .nii.gz), cannot read it ({error})")
