"""Scans of the embedded cohort: a patient's anatomy and lesions, as a scanner would show them, with ground truth.

Each patient has a head space of its own (RAS+ mm, see msdiff.phantom.anatomy), shared by all sessions. A session
lies in the scanner by a rigid pose, and each of its contrasts by a small movement more; the transform of an image,

    scanner point = pose (head point),

is written as `{session}_{contrast}_to_head.txt` (msdiff.spaces: the file that resamples the image onto head
space, and so maps head points to scanner points, LPS mm).

    signal    = sum of tissue shares x tissue intensities, lesions blended in by the share of a voxel they fill
    voxel     = mean of the signal over the voxel (thick slices are integrated)
    image     = | gain x voxel x exp(bias field) + complex Gaussian noise |       (Rician)

Masks hold the voxels that a lesion fills by half or more, or the fullest one where it fills none by half, so that
every focus of the course leaves a component; see msdiff.phantom.lesion_process for what the masks mean.

`simulate_aligned` makes the same on a grid of template space, where a perfect affine registration would bring every
session: the pose then takes the head's size to the atlas', all sessions share it, and there is no bias field.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from msdiff.errors import BadInput
from msdiff.images import Grid, Volume
from msdiff.phantom.anatomy import TISSUE_LABELS, TISSUES, Head, Shape, atlas_head, deform, simulate_shape, to_head
from msdiff.phantom.lesion_process import WAVES, Course, simulate_course
from msdiff.phantom.settings import PhantomSettings, Tissues, session_names
from msdiff.spaces import transform_points

log = logging.getLogger(__name__)

# Middle of the brain and of the field of view, in RAS+ mm of the atlas.
HEAD_CENTRE_MM = np.array([0.0, -18.0, 8.0])
# Lesion borders are finer than voxels: their shares are averaged over points at most this far apart.
LESION_SAMPLES_MM = 1.5
# Amplitude of each of the waves that make an outline irregular, relative to the radius.
OUTLINE_IRREGULARITY = 0.07
WIDEST = WAVES * OUTLINE_IRREGULARITY
FULLEST_SIGNAL = 32767


class SimulatedScan(NamedTuple):
    """One session: images by contrast, masks and tissue labels on the grid of the first contrast, truth transforms.

    `change_mask` is None at the first session. `to_head` holds (4, 4) affines on RAS+ mm, head to scanner points.
    """

    session: str
    images: dict[str, Volume]
    lesion_mask: Volume
    change_mask: Volume | None
    enhancing_mask: Volume
    brain_mask: Volume
    tissue: Volume
    to_head: dict[str, NDArray[np.float64]]


class PlacedCourse(NamedTuple):
    """A course in a patient's head space: centres (F, 3) in RAS+ mm of it."""

    course: Course
    centre_mm: NDArray[np.float64]


class Tissue(NamedTuple):
    """A head in the voxels of a grid (X, Y, Z): brain (bool), labels, and the share that is neither CSF nor outside."""

    brain: NDArray[np.bool_]
    labels: NDArray[np.uint8]
    room: NDArray[np.float32]


class Signal(NamedTuple):
    """A contrast of a head without lesions (X, Y, Z), and the share of each voxel that a lesion may change."""

    values: NDArray[np.float32]
    tissue: NDArray[np.float32]


# A box of a grid, and the share in [0, 1] of each of its voxels (x, y, z) that a focus fills at a session.
Share = tuple[tuple[slice, slice, slice], NDArray[np.float64]]
Shares = Callable[[int, int], Share]


def simulate_scans(settings: PhantomSettings, subject: str, contrasts: Sequence[str]) -> Iterator[SimulatedScan]:
    """Yield the patient's sessions in order; masks lie on the grid of the first contrast, by custom FLAIR.

    A contrast looks the same whichever others are asked for. Raises BadInput for an unknown patient or contrast.
    """
    number, shape, placed = _patient(settings, subject, contrasts)
    atlas = atlas_head(settings.anatomy.working_mm)
    head = deform(atlas, shape, atlas.grid)
    for index, session in enumerate(session_names(settings)):
        _tell(subject, session, placed.course, index)
        yield _scan(settings, number, index, session, contrasts, head, placed)


def simulate_aligned(
    settings: PhantomSettings, subject: str, contrasts: Sequence[str], grid: Grid
) -> Iterator[SimulatedScan]:
    """Yield the patient's sessions in order, all on one axis-aligned grid of template space, without a bias field.

    As perfect registration and bias correction would leave them: sizes are the atlas', shapes the patient's own. Noise
    and gain are those of a scanner with voxels as large as the grid's. Raises BadInput as `simulate_scans` does.
    """
    number, shape, placed = _patient(settings, subject, contrasts)
    settings = settings.model_copy(update={"scanner": settings.scanner.model_copy(update={"bias_percent": 0.0})})
    pose = shape.atlas_from_sized
    atlas = atlas_head(settings.anatomy.working_mm)
    fine = _fine_grid(grid, _samples(grid, atlas.grid))
    head = deform(atlas, shape, Grid(fine.shape, np.linalg.inv(pose) @ fine.affine))
    looks = {contrast: _patients_tissues(settings, number, contrast) for contrast in contrasts}
    signals = {contrast: _signal(look, head, grid, pose) for contrast, look in looks.items()}
    tissue, shares = _tissue(head, grid, pose), _shares(settings, placed, grid, pose)
    for index, session in enumerate(session_names(settings)):
        _tell(subject, session, placed.course, index)
        images = {}
        for contrast, look in looks.items():
            rng = np.random.default_rng([settings.seed, number, 4, settings.weeks[index], crc32(contrast.encode())])
            images[contrast] = _image(settings, look, signals[contrast], placed.course, index, grid, shares, rng)
        masks = _masks(tissue, placed.course, index, grid, shares)
        yield SimulatedScan(session, images, *masks, to_head=dict.fromkeys(contrasts, pose))


def _patient(settings: PhantomSettings, subject: str, contrasts: Sequence[str]) -> tuple[int, Shape, PlacedCourse]:
    """A patient's number, shape and lesions in head space; BadInput for an unknown patient or contrast."""
    for contrast in contrasts:
        if contrast not in settings.scanner.tissues:
            known = ", ".join(settings.scanner.tissues)
            raise BadInput(f"contrast {contrast!r}: the phantom has intensities for {known}; add it to scanner.tissues")
    course = simulate_course(settings, subject)
    number = int(subject[4:])
    anatomy = settings.anatomy
    rng = np.random.default_rng([settings.seed, number, 2])
    shape = simulate_shape(anatomy.warp_mm, anatomy.warp_smoothness_mm, anatomy.size_percent, rng)
    return number, shape, PlacedCourse(course, to_head(shape, course.centre_mm))


def _tell(subject: str, session: str, course: Course, index: int) -> None:
    standing = np.unique(course.lesion[course.onset <= index]).size
    log.info("simulate %s %s: %d lesions standing", subject, session, standing)


def _scan(
    settings: PhantomSettings,
    number: int,
    index: int,
    session: str,
    contrasts: Sequence[str],
    head: Head,
    placed: PlacedCourse,
) -> SimulatedScan:
    scanner, week = settings.scanner, settings.weeks[index]
    rng = np.random.default_rng([settings.seed, number, 3, week])
    pose = _rigid(scanner.rotation_degrees, scanner.translation_mm, rng)
    tilt = _rigid(scanner.tilt_degrees, 0.0, rng)
    spacing = np.array(scanner.spacing_mm) * (1 + rng.uniform(-1, 1, 3) * scanner.spacing_variation_percent / 100)
    images, poses, masks = {}, {}, None
    for contrast in contrasts:
        rng = np.random.default_rng([settings.seed, number, 4, week, crc32(contrast.encode())])
        poses[contrast] = pose @ _rigid(scanner.movement_degrees, scanner.movement_mm, rng)
        grid = _scanner_grid(transform_points(pose, HEAD_CENTRE_MM[None])[0], tilt, spacing, scanner.field_of_view_mm)
        look = _patients_tissues(settings, number, contrast)
        signal = _signal(look, head, grid, poses[contrast])
        shares = _shares(settings, placed, grid, poses[contrast])
        images[contrast] = _image(settings, look, signal, placed.course, index, grid, shares, rng)
        if masks is None:
            masks = _masks(_tissue(head, grid, poses[contrast]), placed.course, index, grid, shares)
    if masks is None:
        raise BadInput("contrasts: expected at least one")
    return SimulatedScan(session, images, *masks, to_head=poses)


def _rigid(degrees: float, millimetres: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """A random rigid motion (4, 4) about the middle of the head, uniform within the limits by axis."""
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_euler("xyz", rng.uniform(-1, 1, 3) * degrees, degrees=True).as_matrix()
    motion[:3, 3] = HEAD_CENTRE_MM - motion[:3, :3] @ HEAD_CENTRE_MM + rng.uniform(-1, 1, 3) * millimetres
    return motion


def _scanner_grid(
    centre_mm: NDArray[np.float64],
    tilt: NDArray[np.float64],
    spacing_mm: NDArray[np.float64],
    field_of_view_mm: tuple[float, float, float],
) -> Grid:
    """A grid around the head, tilted as a radiographer would tilt it."""
    x, y, z = (int(size) for size in np.ceil(np.array(field_of_view_mm) / spacing_mm))
    affine = np.eye(4)
    affine[:3, :3] = tilt[:3, :3] * spacing_mm
    affine[:3, 3] = centre_mm - affine[:3, :3] @ ((np.array([x, y, z]) - 1) / 2)
    return Grid((x, y, z), affine)


def _patients_tissues(settings: PhantomSettings, number: int, contrast: str) -> Tissues:
    """Intensities of a contrast with the patient's own deviations, the same at every session."""
    rng = np.random.default_rng([settings.seed, number, 5, crc32(contrast.encode())])
    tissues = settings.scanner.tissues[contrast]
    factors = np.exp(rng.normal(0.0, settings.scanner.contrast_percent / 100, len(TISSUES)))
    own = {name: getattr(tissues, name) * float(factor) for name, factor in zip(TISSUES, factors, strict=True)}
    return tissues.model_copy(update=own)


def _signal(look: Tissues, head: Head, grid: Grid, pose: NDArray[np.float64]) -> Signal:
    """A contrast of a head before its lesions, averaged over the voxels of a grid."""
    intensities = np.array([getattr(look, name) for name in TISSUES], dtype=np.float32)
    solid = (intensities - np.float32(look.bone)) @ head.shares.reshape(len(TISSUES), -1)
    # Bone fills what is neither tissue nor air; both are dark enough for one value.
    signal = _average(solid.reshape(head.grid.shape).astype(np.float32), head.grid, grid, pose)
    signal += np.float32(look.bone) * _average((head.shares.sum(axis=0) > 0).astype(np.float32), head.grid, grid, pose)
    return Signal(signal, 1 - _average(head.shares[TISSUES.index("csf")], head.grid, grid, pose))


def _image(
    settings: PhantomSettings,
    look: Tissues,
    healthy: Signal,
    course: Course,
    index: int,
    grid: Grid,
    shares: Shares,
    rng: np.random.Generator,
) -> Volume:
    """One image as the scanner gives it: whole numbers (X, Y, Z), 0 to about 1500."""
    scanner = settings.scanner
    signal = healthy.values.copy()
    for focus in np.flatnonzero(course.onset <= index):
        box, share = shares(int(focus), index)
        blend = share * healthy.tissue[box]
        first, last = look.lesion
        value = look.white_matter * (first + (last - first) * course.severity[focus])
        signal[box] += (value - signal[box]) * blend
    gain = np.exp(rng.normal(0.0, scanner.gain_percent / 100))
    signal *= gain * np.exp(_bias(grid.shape, scanner.bias_percent / 100, rng)) if scanner.bias_percent else gain
    noise = np.float32(look.white_matter * scanner.noise_percent / 100 * gain)
    real = signal + noise * rng.standard_normal(grid.shape, dtype=np.float32)
    imaginary = noise * rng.standard_normal(grid.shape, dtype=np.float32)
    magnitude = np.sqrt(real**2 + imaginary**2)
    return Volume(np.rint(np.clip(magnitude, 0, FULLEST_SIGNAL)).astype(np.int32), grid.affine)


def _tissue(head: Head, grid: Grid, pose: NDArray[np.float64]) -> Tissue:
    """What of a head lies in each voxel of a grid."""
    names = list(TISSUE_LABELS)
    shares = np.stack([_average(head.shares[TISSUES.index(name)], head.grid, grid, pose) for name in names])
    brain = _average(head.brain, head.grid, grid, pose) >= 0.5
    labels = np.where(brain, np.array(list(TISSUE_LABELS.values()))[shares.argmax(axis=0)], 0).astype(np.uint8)
    return Tissue(brain, labels, np.where(brain, 1 - shares[names.index("csf")], 0))


def _masks(
    tissue: Tissue, course: Course, index: int, grid: Grid, shares: Shares
) -> tuple[Volume, Volume | None, Volume, Volume, Volume]:
    """Lesion, change, enhancing and brain masks, and tissue labels, on one grid."""
    before, lesions, change, enhancing = (np.zeros(grid.shape, dtype=bool) for _ in range(4))
    for focus in np.flatnonzero(course.onset < index):
        for moment, mask in ((index - 1, before), (index, lesions)):
            box, share = shares(int(focus), moment)
            mask[box] |= _one_component(share * tissue.room[box], np.zeros(share.shape, dtype=bool))
    for focus in np.flatnonzero(course.onset == index):
        box, share = shares(int(focus), index)
        fresh = _one_component(share * tissue.room[box], before[box])
        change[box] |= fresh
        lesions[box] |= fresh
        if course.enhancing[focus, index]:
            enhancing[box] |= fresh
    return (
        Volume(lesions, grid.affine),
        Volume(change, grid.affine) if index > 0 else None,
        Volume(enhancing, grid.affine),
        Volume(tissue.brain, grid.affine),
        Volume(tissue.labels, grid.affine),
    )


def _one_component(share: NDArray[np.float64], taken: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Voxels filled by half or more and not taken: the largest component; else the fullest voxel not taken."""
    free = np.where(taken, 0, share)
    if not free.size or free.max() <= 0:
        return np.zeros(share.shape, dtype=bool)
    labels, count = ndimage.label(free >= 0.5, structure=np.ones((3, 3, 3)))
    if count == 0:
        return np.asarray(np.arange(free.size).reshape(free.shape) == free.argmax())
    return np.asarray(labels == np.bincount(labels.ravel())[1:].argmax() + 1)


def _shares(settings: PhantomSettings, placed: PlacedCourse, grid: Grid, pose: NDArray[np.float64]) -> Shares:
    """A function of focus and session, which reckons each once."""

    @cache
    def share(focus: int, index: int) -> Share:
        return _focus_share(settings, placed, focus, index, grid, pose)

    return share


def _focus_share(
    settings: PhantomSettings, placed: PlacedCourse, focus: int, index: int, grid: Grid, pose: NDArray[np.float64]
) -> Share:
    """Share in [0, 1] of each voxel (x, y, z) of a box of the grid that a focus fills at a session."""
    course, edge = placed.course, settings.lesions.edge_mm
    radius, axes = course.radius_mm[focus, index], course.axes[focus]
    head_from_voxel = np.linalg.inv(pose) @ grid.affine
    voxel_from_head = np.asarray(np.linalg.inv(head_from_voxel), dtype=np.float64)
    centre = transform_points(voxel_from_head, placed.centre_mm[focus][None])[0]
    reach_mm = radius * np.linalg.norm(axes, axis=0).max() * (1 + WIDEST) + edge
    reach = np.linalg.norm(voxel_from_head[:3, :3], axis=1) * reach_mm + 0.5
    start = np.clip(np.ceil(centre - reach), 0, grid.shape).astype(int)
    stop = np.clip(np.floor(centre + reach) + 1, start, grid.shape).astype(int)
    box = (slice(start[0], stop[0]), slice(start[1], stop[1]), slice(start[2], stop[2]))
    samples = [max(2, int(np.ceil(step / LESION_SAMPLES_MM))) for step in grid.spacing_mm]
    fine = [
        (np.arange((last - first) * count) + 0.5) / count - 0.5 + first
        for first, last, count in zip(start, stop, samples, strict=True)
    ]
    points = np.stack(np.meshgrid(*fine, indexing="ij"), axis=-1)
    offset = points @ head_from_voxel[:3, :3].T + head_from_voxel[:3, 3] - placed.centre_mm[focus]
    unit = offset @ np.linalg.inv(axes).T / radius
    outline = 1 + OUTLINE_IRREGULARITY * np.sin(unit @ course.wave[focus, :, :3].T + course.wave[focus, :, 3]).sum(-1)
    distance = np.linalg.norm(unit, axis=-1)
    inside = np.clip(0.5 + (outline - distance) * radius / max(edge, 1e-6), 0, 1)
    x, y, z = (size.stop - size.start for size in box)
    blocks = inside.reshape(x, samples[0], y, samples[1], z, samples[2])
    return box, np.asarray(blocks.mean(axis=(1, 3, 5)))


def _average(
    values: NDArray[np.float32], head_grid: Grid, grid: Grid, pose: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Mean over each voxel of the scanner's grid of a map on the head's grid; linear interpolation, 0 outside."""
    samples = _samples(grid, head_grid)
    fine = _fine_grid(grid, samples)
    matrix = np.linalg.inv(head_grid.affine) @ np.linalg.inv(pose) @ fine.affine
    if fine.shape == head_grid.shape and np.allclose(matrix, np.eye(4), rtol=0, atol=1e-9):
        sampled = values
    else:
        sampled = ndimage.affine_transform(values, matrix[:3, :3], matrix[:3, 3], output_shape=fine.shape, order=1)
    x, y, z = grid.shape
    blocks = sampled.reshape(x, samples[0], y, samples[1], z, samples[2])
    return np.asarray(blocks.mean(axis=(1, 3, 5), dtype=np.float32))


def _samples(grid: Grid, head_grid: Grid) -> NDArray[np.int64]:
    """Points per voxel of a grid and axis at which a map on the head's grid is looked up."""
    return np.asarray(np.maximum(1, np.rint(grid.spacing_mm / head_grid.spacing_mm[0])), dtype=np.int64)


def _fine_grid(grid: Grid, samples: NDArray[np.int64]) -> Grid:
    """The grid whose voxels are so many parts of another's, by axis."""
    part = np.diag([*(1 / samples), 1.0])
    part[:3, 3] = 0.5 / samples - 0.5
    x, y, z = (int(size) for size in np.array(grid.shape) * samples)
    return Grid((x, y, z), np.asarray(grid.affine @ part))


def _bias(shape: tuple[int, int, int], strength: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Logarithm of a smooth field (X, Y, Z): a random polynomial of degree 3 with standard deviation `strength`."""
    x, y, z = (np.linspace(-1, 1, size, dtype=np.float32) for size in shape)
    field = np.zeros(shape, dtype=np.float32)
    for i in range(4):
        for j in range(4 - i):
            for k in range(4 - i - j):
                if i + j + k:
                    weight = np.float32(rng.standard_normal() / (i + j + k))
                    field += weight * (x**i)[:, None, None] * (y**j)[:, None] * z**k
    field -= field.mean()
    return np.asarray(field * np.float32(strength) / field.std())
