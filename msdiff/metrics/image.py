"""Likeness of a generated and a real image inside a region.

Images are arrays (Y, X) or (Z, Y, X) in [-1, 1]; errors are taken after mapping to [0, 1], so the data range is 1.
A region is a bool mask of the same shape. Every function returns NaN where its region is empty.

SSIM (Wang et al. 2004) uses a Gaussian window of sigma 1.5 and 11 taps, K1 = 0.01, K2 = 0.03, population covariances
and reflected borders. In MS-SSIM (Wang et al. 2003) the coarsest scale needs 11 voxels: images with a side of at most
160 have 3 scales (the first three weights, brought to a sum of 1), larger ones 5; see `n_scales`. In a region, the
maps of each scale are averaged over the region, brought down with the image (a coarse voxel belongs to the region
where one of its parts does). The windows look beyond the region's border: by 5 voxels of the scale, so at the coarsest
of 3 by 20 of the image, of 5 by 80. In a region smaller than that, MS-SSIM judges the surroundings too.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW_SIGMA_VOXELS = 1.5
WINDOW_TAPS = 11
C1, C2 = 0.01**2, 0.03**2

Image = NDArray[np.floating]
Region = NDArray[np.bool_]


class Maps(NamedTuple):
    """Local similarity: SSIM and its contrast-structure factor, one value per voxel."""

    ssim: NDArray[np.float64]
    contrast_structure: NDArray[np.float64]


def regions(brain: Region, lesion: Region, ring_width: float, spacing: Sequence[float]) -> dict[str, Region]:
    """The regions in which images are compared, by name.

    brain, lesion (of the brain), ring (brain voxels within `ring_width` of the lesion and not in it; in mm where
    `spacing` is in mm, in voxels where `spacing` is ones) and outside (brain without lesion).
    """
    inside = lesion & brain
    return {
        "brain": brain,
        "lesion": inside,
        "ring": ring(inside, brain, ring_width, spacing),
        "outside": brain & ~inside,
    }


def ring(lesion: Region, within: Region, width: float, spacing: Sequence[float]) -> Region:
    """Voxels of `within` at most `width` away from the lesion and not in it; none where there is no lesion."""
    if not lesion.any():
        return np.zeros_like(lesion)
    distance = distance_transform_edt(~lesion, sampling=spacing)
    return np.asarray((distance > 0) & (distance <= width) & within)


def mse(generated: Image, real: Image, region: Region) -> float:
    """Mean squared error in [0, 1]."""
    return _mean((_unit(generated) - _unit(real)) ** 2, region)


def mae(generated: Image, real: Image, region: Region) -> float:
    """Mean absolute error in [0, 1]."""
    return _mean(np.abs(_unit(generated) - _unit(real)), region)


def psnr(generated: Image, real: Image, region: Region) -> float:
    """Peak signal-to-noise ratio in dB, -10 log10(MSE); infinite where the images agree exactly."""
    error = mse(generated, real, region)
    return float("inf") if error == 0 else float(-10 * np.log10(error))


def ssim(generated: Image, real: Image, region: Region) -> float:
    """Structural similarity, at most 1, averaged over the region."""
    return _mean(similarity_maps(_unit(generated), _unit(real)).ssim, region)


def n_scales(shape: Sequence[int]) -> int:
    """Number of scales of MS-SSIM for a shape: 5 where every side is above 160, 3 otherwise."""
    return 5 if min(shape) > (WINDOW_TAPS - 1) * 2**4 else 3


def ms_ssim(generated: Image, real: Image, region: Region) -> float:
    """Multi-scale structural similarity in [0, 1], of `n_scales(shape)` scales.

    NaN also where a side is too short for three scales (below 44).
    """
    scales = n_scales(real.shape)
    if not region.any() or min(real.shape) < WINDOW_TAPS * 2 ** (scales - 1):
        return np.nan
    weights = np.array(SCALE_WEIGHTS[:scales]) / sum(SCALE_WEIGHTS[:scales])
    x, y = _unit(generated), _unit(real)
    product = 1.0
    for scale, weight in enumerate(weights):
        maps = similarity_maps(x, y)
        last = scale == scales - 1
        # A negative mean has no real power; the reference implementations cut it at zero too. A region of an odd last
        # plane alone is gone with it, and has no value.
        product *= float(np.maximum(0.0, _mean(maps.ssim if last else maps.contrast_structure, region))) ** weight
        if not last:
            x, y, region = _halve(x).mean(axis=0), _halve(y).mean(axis=0), np.asarray(_halve(region).any(axis=0))
    return float(product)


def similarity_maps(x: NDArray[np.float64], y: NDArray[np.float64]) -> Maps:
    """SSIM and its contrast-structure factor at every voxel of two images in [0, 1] (Wang et al. 2004, eq. 13)."""
    mean_x, mean_y = _window(x), _window(y)
    variance_x, variance_y = _window(x * x) - mean_x**2, _window(y * y) - mean_y**2
    covariance = _window(x * y) - mean_x * mean_y
    contrast_structure = (2 * covariance + C2) / (variance_x + variance_y + C2)
    luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    return Maps(luminance * contrast_structure, contrast_structure)


def lesion_contrast(image: Image, lesion: Region, surround: Region) -> float:
    """Mean of the lesion less mean of its surround (`ring`), in units of [0, 1]."""
    return _mean(_unit(image), lesion) - _mean(_unit(image), surround)


def _unit(image: Image) -> NDArray[np.float64]:
    """An image in [-1, 1] brought to [0, 1]."""
    return (np.asarray(image, dtype=np.float64) + 1) / 2


def _mean(values: NDArray[np.float64], region: Region) -> float:
    return float(values[region].mean()) if region.any() else np.nan


def _window(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(gaussian_filter(values, WINDOW_SIGMA_VOXELS, radius=WINDOW_TAPS // 2))


def _halve(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """The 2^n parts (part, ...) of every voxel of a grid half as fine; an odd last plane is left out."""
    even = values[tuple(slice(0, side // 2 * 2) for side in values.shape)]
    starts = np.stack(np.meshgrid(*[[0, 1]] * values.ndim, indexing="ij"), axis=-1).reshape(-1, values.ndim)
    return np.stack([even[tuple(slice(start, None, 2) for start in corner)] for corner in starts])
