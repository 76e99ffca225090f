"""Training images painted from label maps, as SynthSeg does it (Billot et al., Medical Image Analysis 86, 2023).

A crop of a map is turned, sized, bent and perhaps mirrored; each tissue gets a random intensity; lesions of multiple
sclerosis are painted into white matter and keep its label; then come bias field, skull-strip, slices of random
thickness, noise and gamma. Half or more of the images have intensities around those of FLAIR, T1w and T2w, the rest
have any (the share is a setting): what will be parcellated is known better than in SynthSeg, and training is shorter.
"""

from typing import Annotated, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch.nn import functional

from msdiff.parcellation.label_maps import BODY, CODES, LabelMap
from msdiff.settings import Settings

Share = Annotated[float, Field(ge=0, le=1)]
Range = tuple[float, float]
Floats = NDArray[np.float32]


class PaintedLesionSettings(Settings):
    """Ellipsoids in white matter.

    share               of the images that have lesions
    count               lesions of a whole head, from-to, log-uniform
    radius_mm           median; radius_spread: standard deviation of its logarithm
    elongation          longest to shortest axis, at most
    ventricle_mm        lesions thin out as exp(-distance / this) from the lateral ventricles
    elsewhere           density far from the ventricles, in relation to that at them
    """

    share: Share
    count: tuple[PositiveInt, PositiveInt]
    radius_mm: PositiveFloat
    radius_spread: NonNegativeFloat
    elongation: Annotated[float, Field(ge=1)]
    ventricle_mm: PositiveFloat
    elsewhere: Share


class ContrastSettings(Settings):
    """Raw intensities of a contrast; lesion: multiples of white matter, from-to."""

    csf: PositiveFloat
    grey_matter: PositiveFloat
    white_matter: PositiveFloat
    bone: PositiveFloat
    marrow: PositiveFloat
    fat: PositiveFloat
    muscle: PositiveFloat
    lesion: Range


class PaintingSettings(Settings):
    """How training images are painted; lengths in mm, angles in degrees, ranges from-to.

    spacing_mm          of the voxels, cubes
    crop_voxels         sides of the cubes; one is chosen per image
    wander_mm           of the crop's centre, beyond what brings every part of the brain into it
    scale               overall size; scale_spread: standard deviation of its logarithm, by axis
    warp_mm             standard deviation of the displacements of points warp_spacing_mm apart
    random_share        of the images whose tissues have any intensity
    contrasts           around which the others lie
    contrast_power      exponent of a tissue's intensity in relation to white matter
    contrast_spread     standard deviation of the logarithm, by structure
    grain               standard deviation within a tissue, share of the brightest brain tissue
    texture             standard deviation of the logarithm, of the smooth patches outside the brain
    bias                likewise, of the bias field
    stripped_share      of the images without what is outside the brain; rim_share: of these, those that keep CSF
    blur_mm             standard deviation of the blur in plane
    thick_share         of the images with thick slices; thickness_mm: of these
    axial_share         of the thick slices: axial; the rest are sagittal or coronal
    noise               standard deviation, share of the 99.5th percentile; at most
    gain                the 99.5th percentile after painting
    gamma               standard deviation of the logarithm of the exponent
    """

    spacing_mm: PositiveFloat
    crop_voxels: tuple[PositiveInt, ...]
    wander_mm: NonNegativeFloat
    rotation_degrees: NonNegativeFloat
    scale: Range
    scale_spread: NonNegativeFloat
    warp_mm: NonNegativeFloat
    warp_spacing_mm: PositiveFloat
    flip: Share
    random_share: Share
    contrasts: dict[str, ContrastSettings]
    contrast_power: Range
    contrast_spread: NonNegativeFloat
    grain: Range
    texture: NonNegativeFloat
    bias: NonNegativeFloat
    stripped_share: Share
    rim_share: Share
    blur_mm: Range
    thick_share: Share
    thickness_mm: Range
    axial_share: Share
    noise: NonNegativeFloat
    gain: Range
    gamma: NonNegativeFloat
    lesions: PaintedLesionSettings


class Painted(NamedTuple):
    """An image (X, Y, Z), about [0, 1], with the label map it was painted from.

    `codes` (X, Y, Z) are positions in CODES, lesions as the white matter they lie in; `lesions` (X, Y, Z) bool.
    """

    image: Floats
    codes: NDArray[np.uint8]
    lesions: NDArray[np.bool_]
    mirrored: bool


def paint(label_map: LabelMap, settings: PaintingSettings, rng: np.random.Generator) -> Painted:
    """Paint a random crop of a map."""
    side = int(rng.choice(settings.crop_voxels))
    places, mirrored = choose_places(label_map, side, settings, rng)
    codes = label_map.codes.reshape(-1)[places]
    distances = label_map.ventricle_mm.reshape(-1)[places]
    intensities, lesion_intensity = choose_intensities(settings, rng)
    lesions = simulate_lesions(codes, distances, settings.lesions, settings.spacing_mm, rng)
    image = fill(codes, lesions, intensities, lesion_intensity, settings, rng)
    return Painted(degrade(image, settings, rng), codes, lesions, mirrored)


def choose_places(
    label_map: LabelMap, side: int, settings: PaintingSettings, rng: np.random.Generator
) -> tuple[NDArray[np.int64], bool]:
    """Where each voxel (X, Y, Z) of the crop lies in the map, as positions in the flat map; and whether mirrored."""
    spacing = settings.spacing_mm
    angles = np.radians(rng.uniform(-1, 1, 3) * settings.rotation_degrees)
    sizes = np.exp(rng.normal(0, settings.scale_spread, 3)) * rng.uniform(*settings.scale)
    mirrored = bool(rng.random() < settings.flip)
    matrix = _rotation(angles) @ np.diag(1 / sizes) @ np.diag([-1.0 if mirrored else 1.0, 1.0, 1.0])
    low, high = label_map.brain_box
    slack = np.maximum(0, (high - low) * sizes - side * spacing) / 2 + settings.wander_mm
    centre = (low + high) / 2 + matrix @ (rng.uniform(-1, 1, 3) * slack)
    knots = max(2, int(np.ceil(side * spacing / settings.warp_spacing_mm)) + 1)
    bend = _upsampled(rng.normal(0, settings.warp_mm, (3, knots, knots, knots)), side)
    offsets = (np.arange(side, dtype=np.float32) - (side - 1) / 2) * spacing
    flat = np.zeros((side, side, side), dtype=np.int64)
    # One axis of the map after the other: map axis a is row a of the matrix.
    for axis, size in enumerate(label_map.codes.shape):
        row = matrix[axis].astype(np.float32)
        place = bend[axis]
        place += (row[0] * offsets)[:, None, None]
        place += (row[1] * offsets)[None, :, None]
        place += np.float32(centre[axis]) + (row[2] * offsets)[None, None, :]
        np.rint(place, out=place)
        np.clip(place, 0, size - 1, out=place)
        flat *= size
        flat += place.astype(np.int64)
    return flat, mirrored


def choose_intensities(settings: PaintingSettings, rng: np.random.Generator) -> tuple[Floats, float]:
    """Mean intensity of each of CODES, and of lesions; the brightest brain tissue is 1."""
    names = sorted(settings.contrasts)
    contrast = settings.contrasts[names[int(rng.integers(len(names)))]]
    if rng.random() < settings.random_share:
        bases = {name: float(rng.uniform(0.03, 1)) for name in BODY}
        lesion = float(rng.uniform(0.03, 1))
    else:
        power = rng.uniform(*settings.contrast_power)
        bases = {name: (getattr(contrast, name) / contrast.white_matter) ** power for name in BODY}
        lesion = float(rng.uniform(*contrast.lesion)) * bases["white_matter"]
    means = np.array([sum(share * bases[name] for name, share in mixture.items()) for mixture in CODES.values()])
    structures = {code: number for number, code in enumerate(CODES)}
    jitter = np.exp(rng.normal(0, settings.contrast_spread, len(CODES)))
    for right, left in RIGHT_TO_LEFT.items():
        jitter[structures[right]] = jitter[structures[left]]
    means = means * jitter
    brightest = max(means[structures[code]] for code in (2, 3, 24))
    return (means / brightest).astype(np.float32), lesion * float(jitter[structures[2]] / brightest)


def simulate_lesions(
    codes: NDArray[np.uint8],
    distances_mm: NDArray[np.uint8],
    settings: PaintedLesionSettings,
    spacing_mm: float,
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """Voxels (X, Y, Z) of lesions, all in cerebral white matter; `codes` are positions in CODES."""
    lesions = np.zeros(codes.shape, dtype=bool)
    white = IS_WHITE[codes]
    room = np.flatnonzero(white)
    if rng.random() >= settings.share or len(room) == 0:
        return lesions
    least, most = settings.count
    # A crop that holds part of the white matter holds that part of the lesions.
    held = min(1.0, len(room) * spacing_mm**3 / WHITE_MATTER_MM3)
    number = max(1, round(float(np.exp(rng.uniform(np.log(least), np.log(most)))) * held))
    candidates = room[rng.integers(len(room), size=20 * number)]
    near = np.exp(-distances_mm.reshape(-1)[candidates] / settings.ventricle_mm)
    density = settings.elsewhere + (1 - settings.elsewhere) * near
    seats = rng.choice(candidates, size=number, replace=True, p=density / density.sum())
    for seat in np.stack(np.unravel_index(seats, codes.shape), axis=1):
        radius = settings.radius_mm * np.exp(rng.normal(0, settings.radius_spread))
        axes = radius * settings.elongation ** rng.uniform(-0.5, 0.5, 3) / spacing_mm
        turn = _rotation(rng.uniform(-np.pi, np.pi, 3)) / axes
        reach = int(np.ceil(axes.max()))
        low = np.maximum(seat - reach, 0)
        box = tuple(slice(a, b) for a, b in zip(low, seat + reach + 1, strict=True))
        here = white[box]
        offsets = np.indices(here.shape).reshape(3, -1).T + (low - seat)
        inside = ((offsets @ turn) ** 2).sum(axis=1) <= 1
        lesions[box] |= inside.reshape(here.shape) & here
    return lesions


def fill(
    codes: NDArray[np.uint8],
    lesions: NDArray[np.bool_],
    intensities: Floats,
    lesion_intensity: float,
    settings: PaintingSettings,
    rng: np.random.Generator,
) -> Floats:
    """Intensities (X, Y, Z) with grain, texture outside the brain, bias field and skull-strip."""
    side = codes.shape[0]
    grain = rng.uniform(*settings.grain, len(CODES)).astype(np.float32)
    image = intensities[codes]
    image[lesions | IS_LESION[codes]] = lesion_intensity
    image += grain[codes] * rng.standard_normal(codes.shape, dtype=np.float32)
    knots = max(2, round(side * settings.spacing_mm / TEXTURE_MM))
    texture = np.exp(_upsampled(rng.normal(0, settings.texture, (1, knots, knots, knots)), side)[0])
    image *= np.where(IS_OUTSIDE[codes], texture, np.float32(1))
    if rng.random() < settings.stripped_share:
        kept = IS_INSIDE if rng.random() < settings.rim_share else IS_BRAIN
        image *= kept[codes]
    bias = _upsampled(rng.normal(0, settings.bias, (1, 4, 4, 4)), side)[0]
    image *= np.exp(bias)
    return image


def degrade(image: Floats, settings: PaintingSettings, rng: np.random.Generator) -> Floats:
    """The image (X, Y, Z) as a scanner would have taken it: slices, blur, noise, gain and gamma."""
    thickness = np.zeros(3)
    if rng.random() < settings.thick_share:
        axis = 2 if rng.random() < settings.axial_share else int(rng.integers(2))
        thickness[axis] = rng.uniform(*settings.thickness_mm)
    blur = rng.uniform(*settings.blur_mm)
    tensor = torch.from_numpy(np.ascontiguousarray(image))
    for axis in range(3):
        matrix = acquisition(image.shape[axis], settings.spacing_mm, blur, float(thickness[axis]))
        tensor = torch.tensordot(tensor, torch.from_numpy(matrix), dims=([0], [1]))
    image = tensor.numpy()
    # A strided sample tells the percentile well, in a hundredth of the time.
    bright = max(float(np.quantile(image.reshape(-1)[::37], 0.995)), 1e-3)
    image = image * np.float32(rng.uniform(*settings.gain) / bright)
    image += np.float32(rng.uniform(0, settings.noise)) * rng.standard_normal(image.shape, dtype=np.float32)
    np.clip(image, 0, 1, out=image)
    return np.asarray(image ** np.float32(np.exp(rng.normal(0, settings.gamma))), dtype=np.float32)


def acquisition(size: int, spacing_mm: float, blur_mm: float, thickness_mm: float) -> Floats:
    """What an acquisition does along one axis, as a matrix (size, size): blur, slices, and back by linear steps.

    A thickness of 0 is without slices; else slices of this thickness without gap, with a Gaussian profile whose full
    width at half maximum is the thickness. Rows sum to 1.
    """
    at = np.arange(size) * spacing_mm
    centres = at if thickness_mm <= spacing_mm else np.arange((at[-1] % thickness_mm) / 2, at[-1] + 1e-6, thickness_mm)
    width = max(np.hypot(blur_mm, thickness_mm / FWHM if thickness_mm > spacing_mm else 0), 1e-3)
    profile = np.exp(-0.5 * ((centres[:, None] - at[None, :]) / width) ** 2)
    profile /= profile.sum(axis=1, keepdims=True)
    if len(centres) == size:
        return np.asarray(profile, dtype=np.float32)
    back = np.stack([np.interp(at, centres, row) for row in np.eye(len(centres))], axis=1)
    return np.asarray(back @ profile, dtype=np.float32)


FWHM = 2 * np.sqrt(2 * np.log(2))
# Patches of fat, muscle and glands outside the brain.
TEXTURE_MM = 12.0
# A grown brain's, which counts of lesions refer to.
WHITE_MATTER_MM3 = 450_000.0


def _rotation(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotation (3, 3) about the three axes, one after the other."""
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        a, b = [other for other in range(3) if other != axis]
        turn = np.eye(3)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ turn
    return matrix


def _upsampled(knots: NDArray[np.float64], side: int) -> Floats:
    """Fields (C, K, K, K) at the corners and between, linearly on cubes (C, side, side, side)."""
    coarse = torch.from_numpy(knots.astype(np.float32))[None]
    fine = functional.interpolate(coarse, size=(side, side, side), mode="trilinear", align_corners=True)
    return np.asarray(fine[0].numpy())


_ORDER = list(CODES)
RIGHT_TO_LEFT = {41: 2, 42: 3, 43: 4, 44: 5, 46: 7, 47: 8, 49: 10, 50: 11, 51: 12, 52: 13, 53: 17, 54: 18} | {
    57: 25,
    58: 26,
    60: 28,
    62: 30,
    163: 136,
    164: 137,
}
IS_WHITE = np.isin(_ORDER, (2, 41))
IS_LESION = np.isin(_ORDER, (25, 57))
IS_OUTSIDE = np.array([code >= 500 for code in _ORDER])
# CSF inside the skull and brain; brain alone.
IS_INSIDE = np.array([0 < code < 500 for code in _ORDER])
IS_BRAIN = IS_INSIDE & ~np.isin(_ORDER, (24,))
