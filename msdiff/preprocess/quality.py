"""Quality control: what a scan and its preprocessing are like, in numbers, and what lies outside the accepted range.

Measures of a session, of the first contrast where nothing else is said; a measure that does not apply is missing:

    slice_mm                  largest side of a raw voxel
    coverage                  share of the template's brain inside the raw field of view, of the contrast with the least
    brain_ml                  brain in the patient's own size; so are all volumes
    template_dice             overlap of the brain mask with the template's brain
    template_nmi              normalised mutual information with the template inside the template's brain
    white_matter_share        share of the brain mask that the regions call cerebral white matter
    contrast_nmi              with the session's other contrasts inside the brain, the lowest
    head_rotation_degrees     head pose against the session before, in scanner space
    head_translation_mm       displacement of the brain's centre likewise
    session_correlation       Pearson's r with the session before, registered, inside the brain
    residual_shift_mm         mean displacement of the brain that registration left against the session before
    gain, clipped             factor and share of clipped voxels of the normalisation
    snr                       white matter over noise, of the raw image
    cnr, cnr_fluid            difference of grey matter, or fluid, to white matter over noise, of the raw image
    cjv                       coefficient of joint variation of white and grey matter, bias corrected
    lesion_inside_ml, ...     lesion and change masks inside and outside the brain mask

Sources. SNR, CNR (Magnotta and Friedman, J Digit Imaging 19, 2006) and CJV (Ganzetti et al., Front Neuroinform 10,
2016) as MRIQC defines them (Esteban et al., PLOS ONE 12, 2017), with two changes: means and standard deviations are
medians and scaled median absolute deviations, which lesions in white matter do not move; and noise is measured inside
white matter (Immerkaer, Comput Vis Image Underst 64, 1996), for many scans come with their air erased. Noise that the
scanner's interpolation has smoothed is underestimated. NMI is (H(A) + H(B)) / H(A, B), 1 to 2 (Studholme et al.,
Pattern Recognition 32, 1999).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator
from scipy import ndimage
from scipy.spatial.transform import Rotation

from msdiff.images import Grid, Volume
from msdiff.metrics.voxel import confusion, dice
from msdiff.settings import Settings
from msdiff.spaces import Matrix, resample, resample_labels, transform_points

# Words and unit of each measure, in the order of the table.
MEASURES = {
    "slice_mm": ("slices", "mm"),
    "coverage": ("share of the brain in the field of view", ""),
    "brain_ml": ("brain volume", "ml"),
    "template_dice": ("Dice with the template's brain", ""),
    "template_nmi": ("NMI with the template", ""),
    "white_matter_share": ("share of white matter in the brain", ""),
    "contrast_nmi": ("NMI between contrasts", ""),
    "head_rotation_degrees": ("head turned by", "degrees"),
    "head_translation_mm": ("head moved by", "mm"),
    "session_correlation": ("correlation with the session before", ""),
    "residual_shift_mm": ("misaligned with the session before by", "mm"),
    "gain": ("gain", ""),
    "clipped": ("share of clipped voxels", ""),
    "snr": ("SNR", ""),
    "cnr": ("CNR of grey and white matter", ""),
    "cnr_fluid": ("CNR of fluid and white matter", ""),
    "cjv": ("CJV", ""),
    "lesion_inside_ml": ("lesions inside the brain", "ml"),
    "lesion_outside_ml": ("lesions outside the brain", "ml"),
    "lesion_outside_share": ("share of lesions outside", ""),
    "change_inside_ml": ("change inside the brain", "ml"),
    "change_outside_ml": ("change outside the brain", "ml"),
    "change_outside_share": ("share of change outside", ""),
}
# Shares that are best at 1, and mutual information, which is 1 of two images that have nothing in common.
REFERENCES = dict.fromkeys(("coverage", "template_dice", "session_correlation", "template_nmi", "contrast_nmi"), 1.0)
MEASURED_MASKS = {"lesion": "lesion_mask", "change": "change_mask"}

# FreeSurfer's codes by tissue: cerebral white matter, cerebral cortex, ventricles and other fluid.
WHITE_MATTER = (2, 41)
GREY_MATTER = (3, 42)
FLUID = (4, 5, 14, 15, 24, 43, 44)
# Fewer voxels tell nothing of a tissue.
ENOUGH_VOXELS = 100

# Standard deviation of a normal distribution over its median absolute deviation.
SIGMA_PER_MAD = 1.4826
# Noise of unit deviation passes the mask of Immerkaer's method, [1, -2, 1] along both axes, with this deviation.
LAPLACIAN_GAIN = 6.0
MM3_PER_ML = 1000.0
# Steps of the fit of a residual motion; two reach 0.1 mm from 3 mm.
STEPS = 4

Limit = tuple[float | None, float | None]


class QualitySettings(Settings):
    """What the command `check-quality` takes.

    `limits` are the lowest and the highest accepted value of measures by name, null for none; a measure that is not
    listed is not judged.
    """

    histogram_bins: int = Field(ge=4)
    smoothing_mm: float = Field(gt=0)
    limits: dict[str, Limit]

    @field_validator("limits")
    @classmethod
    def _known(cls, limits: dict[str, Limit]) -> dict[str, Limit]:
        unknown = [name for name in limits if name not in MEASURES]
        if unknown:
            raise ValueError(f"expected some of {', '.join(MEASURES)}; got {', '.join(unknown)}")
        return limits


class CheckedScan(NamedTuple):
    """A session as it came and as it was made; images (X, Y, Z) on the common grid but for the raw ones.

    `raw` is the first contrast, `raw_grids` are all contrasts' grids, `maps` (4, 4) take points of MNI space to points
    of the raw image, RAS+ mm, by contrast. `corrected` is the first contrast with its skull, `normalised` are all
    contrasts in [-1, 1]. `masks` are the known ones of MEASURED_MASKS. `gain` and `clipped` are the normalisation's.
    """

    raw: Volume
    raw_grids: Mapping[str, Grid]
    maps: Mapping[str, Matrix]
    corrected: Volume
    normalised: Mapping[str, NDArray[np.float32]]
    masks: Mapping[str, NDArray[np.bool_]]
    gain: float
    clipped: float


class Anatomy(NamedTuple):
    """A patient's brain mask and region labels, the template's T1 and brain, all (X, Y, Z) on the common grid."""

    grid: Grid
    brain: NDArray[np.bool_]
    regions: NDArray[np.int32]
    template: NDArray[np.float32]
    template_brain: NDArray[np.bool_]


def measure(
    scan: CheckedScan, before: CheckedScan | None, anatomy: Anatomy, settings: QualitySettings
) -> dict[str, float]:
    """All measures of a scan by name, NaN where one does not apply; `before` is the session before it."""
    first = next(iter(scan.normalised))
    grid, brain, bins = anatomy.grid, anatomy.brain, settings.histogram_bins
    # Maps stretch the patient's head to the template's size.
    ml = grid.voxel_volume_mm3 * abs(np.linalg.det(scan.maps[first][:3, :3])) / MM3_PER_ML
    image, inside = scan.normalised[first], anatomy.template_brain
    others = [
        normalised_mutual_information(image[brain], scan.normalised[contrast][brain], bins)
        for contrast in scan.normalised
        if contrast != first
    ]
    points = transform_points(grid.affine, np.argwhere(inside).astype(np.float64))
    measures = {
        "slice_mm": float(scan.raw.grid.spacing_mm.max()),
        "coverage": min(coverage(points, scan.maps[name], scan.raw_grids[name]) for name in scan.normalised),
        "brain_ml": float(brain.sum() * ml),
        "template_dice": dice(confusion(inside, brain), empty=np.nan),
        "template_nmi": normalised_mutual_information(
            np.asarray(scan.corrected.data)[inside], anatomy.template[inside], bins
        ),
        "white_matter_share": float(np.isin(anatomy.regions[brain], WHITE_MATTER).mean()) if brain.any() else np.nan,
        "contrast_nmi": min(others, default=np.nan),
        "gain": scan.gain,
        "clipped": scan.clipped,
        **_tissues(scan, scan.maps[first], anatomy),
    }
    if before is not None:
        centre = transform_points(grid.affine, np.argwhere(brain).mean(axis=0))
        rotation, translation = head_motion(before.maps[first], scan.maps[first], centre)
        measures |= {
            "head_rotation_degrees": rotation,
            "head_translation_mm": translation,
            "session_correlation": correlation(before.normalised[first][brain], image[brain]),
            "residual_shift_mm": residual_shift_mm(before.corrected, scan.corrected, brain, settings.smoothing_mm),
        }
    for name, kind in MEASURED_MASKS.items():
        if kind in scan.masks:
            mask = scan.masks[kind]
            within, total = int((mask & brain).sum()), int(mask.sum())
            measures |= {
                f"{name}_inside_ml": within * ml,
                f"{name}_outside_ml": (total - within) * ml,
                f"{name}_outside_share": (total - within) / total if total else np.nan,
            }
    return {name: float(measures.get(name, np.nan)) for name in MEASURES}


def flags(measures: Mapping[str, float], limits: Mapping[str, Limit]) -> list[str]:
    """What is not accepted of a scan's measures, one reason each; a missing measure is accepted."""
    reasons = []
    for name, (low, high) in limits.items():
        if low is not None and measures[name] < low:
            reasons.append(f"{in_words(name, measures[name])} (at least {low:g})")
        if high is not None and measures[name] > high:
            reasons.append(f"{in_words(name, measures[name])} (at most {high:g})")
    return reasons


def in_words(name: str, value: float) -> str:
    """A measure with its value and unit.

    >>> in_words("brain_ml", 1234.5)
    'brain volume 1234 ml'
    """
    words, unit = MEASURES[name]
    return f"{words} {value:.0f} {unit}".rstrip() if value >= 1000 else f"{words} {value:.3g} {unit}".rstrip()


def score(measures: Mapping[str, float], limits: Mapping[str, Limit]) -> float:
    """How much room a scan has to its nearest limit: 1 is at the limit, below it is flagged; at most 10.

    With distances from the measure's reference (0, or REFERENCES): the limit's over the measure's where the reference
    is a value to come near to, and the inverse where it is one to keep away from.
    """
    ratios = [10.0]
    for name, (low, high) in limits.items():
        reference = REFERENCES.get(name, 0.0)
        distance = abs(measures[name] - reference)
        if low is not None:
            room = low - reference
            ratios.append(_ratio(-room, distance) if room < 0 else _ratio(distance, room))
        if high is not None:
            room = high - reference
            ratios.append(_ratio(room, distance) if room >= 0 else _ratio(distance, -room))
    return float(np.nanmin(ratios))


def correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Pearson's r of two lists of intensities (N,); 0 where one of them has no contrast."""
    if first.std() == 0 or second.std() == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def normalised_mutual_information(first: NDArray[Any], second: NDArray[Any], bins: int) -> float:
    """(H(A) + H(B)) / H(A, B) of two lists of intensities (N,), 1 (independent) to 2; NaN without any contrast."""
    joint = np.bincount(_binned(first, bins) * bins + _binned(second, bins), minlength=bins * bins).reshape(bins, bins)
    together = _entropy(joint)
    return (_entropy(joint.sum(axis=0)) + _entropy(joint.sum(axis=1))) / together if together > 0 else np.nan


def coverage(points_mm: NDArray[np.float64], matrix: Matrix, raw: Grid) -> float:
    """Share of points (N, 3) of MNI space that a map (4, 4) takes into a raw image's field of view."""
    index = transform_points(np.linalg.inv(raw.affine) @ matrix, points_mm)
    return float(((index > -0.5) & (index < np.array(raw.shape) - 0.5)).all(axis=1).mean())


def head_motion(before: Matrix, after: Matrix, centre_mm: NDArray[np.float64]) -> tuple[float, float]:
    """Rotation in degrees, and displacement in mm of the brain's centre, of a head from one session to the next.

    `before` and `after` (4, 4) take MNI space, in which the centre (3,) is given, to the raw images.
    """
    motion = after @ np.linalg.inv(before)
    # The nearest rotation, by the polar decomposition.
    left, _, right = np.linalg.svd(motion[:3, :3])
    degrees = np.degrees(Rotation.from_matrix(left @ right).magnitude())
    start = transform_points(before, centre_mm)
    return float(degrees), float(np.linalg.norm(transform_points(motion, start) - start))


def residual_shift_mm(first: Volume, second: Volume, brain: NDArray[np.bool_], smoothing_mm: float) -> float:
    """Mean displacement in mm over the brain (X, Y, Z) of the rigid motion that brings one scan onto another.

    Gauss-Newton on smoothed intensities: second = gain * first + offset + displacement * gradient of first, inside
    the brain only, where no edge of a mask says that nothing moved. For what a registration has left, a few mm; the
    grid's axes are those of space, and contrasts that differ by more than a gain are taken for motion in part.
    """
    grid = first.grid
    sigma = smoothing_mm / grid.spacing_mm
    still, moving = (
        Volume(ndimage.gaussian_filter(np.asarray(volume.data, dtype=np.float32), sigma), grid.affine)
        for volume in (second, first)
    )
    points = transform_points(grid.affine, np.argwhere(brain).astype(np.float64))
    centre = points.mean(axis=0)
    arms = points - centre
    target = np.asarray(still.data)[brain]
    motion = np.eye(4)
    for _ in range(STEPS):
        image = np.asarray(resample(moving, grid, motion).data)
        slopes = np.stack([slope[brain] for slope in np.gradient(image, *grid.spacing_mm)], axis=1)
        columns = np.column_stack([image[brain], np.ones(len(arms)), slopes, np.cross(arms, slopes)])
        gain, _, *step = np.linalg.lstsq(columns.T @ columns, columns.T @ target, rcond=None)[0]
        if abs(gain) < np.finfo(np.float32).eps:
            break
        shift, turn = np.array(step[:3]) / gain, np.array(step[3:]) / gain
        small = np.eye(4)
        small[:3, :3] = Rotation.from_rotvec(turn).as_matrix()
        small[:3, 3] = centre + shift - small[:3, :3] @ centre
        motion = motion @ small
    return float(np.linalg.norm(transform_points(motion, points) - points, axis=1).mean())


def noise(image: NDArray[np.float32], region: NDArray[np.bool_], spacing_mm: NDArray[np.float64]) -> float:
    """Standard deviation of the noise in a region (X, Y, Z) of a raw image, from second differences within slices.

    NaN where the region is too small. Slices lie across the axis of the largest voxel side.
    """
    in_plane = [axis for axis in range(3) if axis != int(np.argmax(spacing_mm))]
    response, inner = image.astype(np.float32), region
    for axis in in_plane:
        response = np.diff(response, 2, axis=axis)
        inner = np.take(inner, np.arange(1, inner.shape[axis] - 1), axis=axis)
    values = response[inner]
    if len(values) < ENOUGH_VOXELS:
        return np.nan
    return float(SIGMA_PER_MAD * np.median(np.abs(values)) / LAPLACIAN_GAIN)


def _ratio(above: float, below: float) -> float:
    return above / below if below else np.inf


def _tissues(scan: CheckedScan, matrix: Matrix, anatomy: Anatomy) -> dict[str, float]:
    """SNR, CNR and CJV."""
    lesions = np.logical_or.reduce([np.zeros_like(anatomy.brain), *scan.masks.values()])
    regions = np.where(lesions, 0, anatomy.regions).astype(np.int16)
    to_grid = np.asarray(np.linalg.inv(matrix), dtype=np.float64)
    labels = resample_labels(Volume(regions, anatomy.grid.affine), scan.raw.grid, to_grid).data
    raw = np.asarray(scan.raw.data, dtype=np.float32)
    white, grey, fluid = (
        _middle_and_spread(raw[np.isin(labels, codes)])[0] for codes in (WHITE_MATTER, GREY_MATTER, FLUID)
    )
    sigma = noise(raw, np.isin(labels, WHITE_MATTER), scan.raw.grid.spacing_mm)
    if not sigma > 0:
        sigma = np.nan
    corrected = np.asarray(scan.corrected.data)
    (w, w_spread), (g, g_spread) = (
        _middle_and_spread(corrected[np.isin(regions, codes)]) for codes in (WHITE_MATTER, GREY_MATTER)
    )
    return {
        "snr": white / sigma,
        "cnr": abs(grey - white) / sigma,
        "cnr_fluid": abs(fluid - white) / sigma,
        "cjv": (w_spread + g_spread) / abs(w - g) if w != g else np.nan,
    }


def _middle_and_spread(values: NDArray[Any]) -> tuple[float, float]:
    """Median and scaled median absolute deviation; NaN of too few values."""
    if len(values) < ENOUGH_VOXELS:
        return np.nan, np.nan
    middle = float(np.median(values))
    return middle, float(SIGMA_PER_MAD * np.median(np.abs(values - middle)))


def _binned(values: NDArray[Any], bins: int) -> NDArray[np.int64]:
    """Numbers of equally wide bins between the least and the greatest value."""
    low, high = float(values.min()), float(values.max())
    width = (high - low) / bins or 1.0
    return np.asarray(np.minimum((values - low) / width, bins - 1), dtype=np.int64)


def _entropy(counts: NDArray[np.int64]) -> float:
    """Shannon's entropy of counts, in nats."""
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())
