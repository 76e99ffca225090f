"""Affine maps between spaces, their ITK text files, and resampling.

A map is a matrix (4, 4) that takes points of the target space to points of the source space, both RAS+ in mm: to
resample an image onto a grid, each voxel of the grid asks where in the image it comes from. ITK text files hold the
same direction in LPS+ mm, so `antsApplyTransforms -r GRID -i IMAGE -t IMAGE_to_grid.txt` resamples IMAGE onto GRID.
"""

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from msdiff.errors import BadInput
from msdiff.images import Grid, Volume, axis_aligned_grid
from msdiff.writing import whole_file

Matrix = NDArray[np.float64]

# RAS+ to LPS+ and back.
FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])
FWHM_PER_SIGMA = float(2 * np.sqrt(2 * np.log(2)))


def load_itk_affine(path: str | Path) -> Matrix:
    """Read an ITK text file of one affine as a matrix (4, 4) in RAS+ mm, target to source.

    Raises BadInput where the file is missing or does not hold one invertible affine of 12 parameters.
    """
    expected = f"{path}: expected an ITK text file of one affine (12 parameters and a centre)"
    try:
        text = Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{expected}, cannot read it ({error})") from error
    fields = {key: values.split() for key, values in re.findall(r"^(Parameters|FixedParameters):(.*)$", text, re.M)}
    try:
        parameters = np.array(fields["Parameters"], dtype=np.float64)
        centre = np.array(fields["FixedParameters"], dtype=np.float64)
        matrix = from_itk(parameters, centre)
    except (KeyError, ValueError) as error:
        raise BadInput(f"{expected}, got {text[:40]!r}") from error
    if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < 1e-9:
        raise BadInput(f"{expected}, got a singular one")
    return matrix


def save_itk_affine(matrix: Matrix, path: str | Path) -> None:
    """Write a matrix (4, 4) in RAS+ mm, target to source, as an ITK text file."""
    with whole_file(path) as temporary:
        temporary.write_text(itk_text(matrix))


def itk_text(matrix: Matrix) -> str:
    """The ITK text of a matrix (4, 4) in RAS+ mm, with its centre at the origin."""
    flipped = FLIP @ matrix @ FLIP
    numbers = [*flipped[:3, :3].ravel(), *flipped[:3, 3]]
    return (
        "#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_3_3\n"
        f"Parameters: {' '.join(repr(float(number)) for number in numbers)}\nFixedParameters: 0 0 0\n"
    )


def from_itk(parameters: NDArray[np.float64], centre: NDArray[np.float64]) -> Matrix:
    """The matrix (4, 4) in RAS+ mm of ITK's 12 affine parameters about a centre in LPS+ mm."""
    matrix = np.eye(4)
    matrix[:3, :3] = parameters[:9].reshape(3, 3)
    matrix[:3, 3] = parameters[9:].reshape(3) + centre.reshape(3) - matrix[:3, :3] @ centre.reshape(3)
    return np.asarray(FLIP @ matrix @ FLIP)


def transform_points(matrix: Matrix, points_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (..., 3) in mm, mapped by a matrix (4, 4)."""
    return np.asarray(points_mm @ matrix[:3, :3].T + matrix[:3, 3])


def resample(volume: Volume, grid: Grid, matrix: Matrix) -> Volume:
    """Intensities float32 on a grid: matched in resolution, then linear; the image's minimum outside its field.

    Linear interpolation never leaves the range of the voxels it averages. B-splines and windowed sincs are sharper
    but overshoot at edges: they make negative values at the skin and a dark rim around lesions, which a network
    learns. Where the grid's voxels are larger than the image's, the image is first blurred to the grid's resolution
    (a Gaussian whose width is the difference of the squared voxel sizes; Cardoso et al., Scale factor point spread
    function matching, MICCAI 2015), so that fine detail does not come back as coarse patterns.
    """
    index = _index_map(volume, grid, matrix)
    data = np.asarray(volume.data, dtype=np.float32)
    if grid.shape == data.shape and np.allclose(index, np.eye(4), rtol=0, atol=1e-9):
        return Volume(data.copy(), grid.affine)
    sigma = np.sqrt(np.maximum((index[:3, :3] ** 2).sum(axis=1) - 1, 0)) / FWHM_PER_SIGMA
    if sigma.max() > 0.1:
        data = ndimage.gaussian_filter(data, sigma, mode="nearest")
    return Volume(_sample(data, grid, index, 1, float(data.min())), grid.affine)


def resample_labels(volume: Volume, grid: Grid, matrix: Matrix) -> Volume:
    """A mask or label map on a grid by nearest neighbour, dtype kept; 0 outside its field."""
    data = volume.data.astype(np.uint8) if volume.data.dtype == bool else volume.data
    sampled = _sample(data, grid, _index_map(volume, grid, matrix), 0, 0)
    return Volume(sampled.astype(volume.data.dtype), grid.affine)


def isotropic_grid(grid: Grid, spacing_mm: float) -> Grid:
    """The RAS+ grid of cubic voxels around another grid's bounding box."""
    ends = [(-0.5, size - 0.5) for size in grid.shape]
    corners = transform_points(grid.affine, np.stack(np.meshgrid(*ends), axis=-1).reshape(-1, 3))
    low, high = corners.min(axis=0), corners.max(axis=0)
    x, y, z = (int(size) for size in np.maximum(np.ceil((high - low) / spacing_mm - 1e-6), 2))
    mid_x, mid_y, mid_z = ((low + high) / 2).tolist()
    return axis_aligned_grid((x, y, z), (spacing_mm, spacing_mm, spacing_mm), (mid_x, mid_y, mid_z))


def _index_map(volume: Volume, grid: Grid, matrix: Matrix) -> Matrix:
    """The matrix (4, 4) from the grid's voxel indices to the volume's."""
    return np.asarray(np.linalg.inv(volume.affine) @ matrix @ grid.affine)


def _sample(data: NDArray[np.generic], grid: Grid, index: Matrix, order: int, outside: float) -> NDArray[np.generic]:
    """Values at the grid's voxels; `outside` where a voxel's centre lies beyond the outer faces of the data."""
    sampled = ndimage.affine_transform(
        data, index[:3, :3], index[:3, 3], output_shape=grid.shape, order=order, mode="nearest"
    )
    steps = np.ogrid[tuple(slice(0, size) for size in grid.shape)]
    for axis, size in enumerate(data.shape):
        position = sum(index[axis, k] * steps[k] for k in range(3)) + index[axis, 3]
        sampled[(position < -0.5) | (position > size - 0.5)] = outside
    return np.asarray(sampled)
