"""Registration: every scan of a patient to one unbiased space, then to the template's, by one affine each.

1. The baseline's first contrast to the MNI152 template (affine), from a wide search. This also finds the brain: all
   later fits compare there, since jaw, neck and skin move on their own; their searches compare whole heads.
2. Each session's first contrast to the baseline's, and within a session each contrast to the first (rigid: the head
   may move between two acquisitions). The midway space lies at the mean of the sessions' logarithms, so that no session
   is the one that others are bent to, and all are interpolated alike (Reuter et al., NeuroImage 61, 2012).
3. The mean of the sessions in midway space to the template (affine): of T1w where there is one, as the template is.
4. The maps are multiplied; each raw image is interpolated once, from its own voxels onto the configured grid.

Maps are estimated on cubic voxels of the configured grid's voxel volume, from images without the coil's slow change of
brightness: two scans of one head whose fields differ lie up to half a millimetre off with it, and a tenth without.

A backend is a function `register(fixed, moving, masks, kind, start, options) -> map`: two volumes, masks (X, Y, Z) on
the fixed grid that say where they are compared, `rigid` or `affine`, a map to start from (None: search), and its
options. It returns the matrix (4, 4) that takes fixed points to moving points, RAS+ mm.
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from pydantic import PositiveFloat, PositiveInt
from scipy import ndimage
from scipy.linalg import expm, logm

from msdiff import backends
from msdiff.errors import BadInput
from msdiff.images import Grid, Volume, axis_aligned_grid
from msdiff.preprocess.search import RegistrationMasks, foreground
from msdiff.preprocess.shapes import ball
from msdiff.settings import Choice, Settings
from msdiff.spaces import Matrix, isotropic_grid, resample, resample_labels
from msdiff.template import load_template, template_brain

BACKENDS = {
    "greedy": "msdiff.preprocess.greedy:register",
    "ants": "msdiff.preprocess.ants:register",
    "plain": "msdiff.preprocess.plain:register",
}

# The contrast of the template.
TEMPLATE_CONTRAST = "t1w"
# The template's brain with a rim that shows where it ends; with the skin in it, whole heads are fitted to the brain.
TEMPLATE_MARGIN_MM = 4.0
# A patient's brain with its edge, at which two scans show best how they lie.
BRAIN_MARGIN_MM = 4.0
# A coil's brightness changes over such a distance (standard deviation of a Gaussian), tissue and lesions over less; it
# is seen on coarse voxels. Where less than this share of the surroundings is head, it is taken as the mean.
EVEN_WIDTH_MM = 25.0
EVEN_SPACING_MM = 6.0
EVEN_LEAST_SHARE = 0.1
# Adult brains with their fluid have 1.0 to 1.9 l, the template 1.9 l; a map that scales volumes by more is wrong.
SCALING_LIMITS = (0.4, 1.5)

log = logging.getLogger(__name__)

Register = Callable[[Volume, Volume, RegistrationMasks, str, Matrix | None], Matrix]


class GridSettings(Settings):
    """The common grid in MNI space: voxels, their size in mm, the middle in RAS+ mm."""

    shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    spacing_mm: tuple[PositiveFloat, PositiveFloat, PositiveFloat]
    centre_mm: tuple[float, float, float]

    def grid(self) -> Grid:
        """The grid itself."""
        return axis_aligned_grid(self.shape, self.spacing_mm, self.centre_mm)


class RegistrationSettings(Settings):
    """What the command `register` takes."""

    grid: GridSettings
    registration: Choice


class RawScan(NamedTuple):
    """One session's raw images by contrast, and its masks on the first contrast's grid.

    `change_map` (4, 4), where there is one, takes points of the space the change mask lies in to points of the first
    contrast, RAS+ mm.
    """

    session: str
    images: dict[str, Volume]
    masks: dict[str, Volume]
    change_map: Matrix | None


def register_patient(
    scans: Sequence[RawScan], contrasts: Sequence[str], grid: Grid, choice: Choice
) -> list[dict[str, Matrix]]:
    """One map (4, 4) per scan and contrast: points of MNI space to points of the raw image, RAS+ mm.

    Raises BadInput where a scan lacks the first contrast, or where no plausible map to the template is found.
    """
    first = contrasts[0]
    for scan in scans:
        if first not in scan.images:
            raise BadInput(
                f"{scan.session}: expected the contrast {first!r}, the first of the config; exclude the scan"
            )
    register: Register = partial(backends.load(BACKENDS, choice.backend), options=choice.options)
    spacing_mm = float(np.cbrt(grid.voxel_volume_mm3))
    images = [{contrast: even(cubic(image, spacing_mm)) for contrast, image in scan.images.items()} for scan in scans]
    template = cubic(load_template("t1"), spacing_mm)
    brain = Volume(template_brain(template.grid), template.affine)
    around = ndimage.binary_dilation(brain.data, ball(template.grid, TEMPLATE_MARGIN_MM))
    on_template = RegistrationMasks(around, around)

    log.info("baseline to the template")
    baseline = images[0][first]
    to_baseline = register(template, baseline, on_template, "affine", None)
    log.info("%d sessions to one midway space, their contrasts to %s", len(scans), first)
    sessions, within = [np.eye(4)], []
    for number, contrasts_of_session in enumerate(images):
        reference = contrasts_of_session[first]
        if number > 0:
            sessions.append(register(baseline, reference, session_masks(baseline, brain, to_baseline), "rigid", None))
        masks = session_masks(reference, brain, sessions[-1] @ to_baseline)
        maps = {first: np.eye(4)}
        for contrast, image in contrasts_of_session.items():
            if contrast != first:
                maps[contrast] = register(reference, image, masks, "rigid", None)
        within.append(maps)
    midway = midway_maps(sessions)
    log.info("midway space to the template")
    start = np.linalg.inv(midway[0]) @ to_baseline
    to_midway = register(template, _mean_image(images, within, midway, first), on_template, "affine", start)
    _check_scaling(to_midway)
    return [
        {contrast: inner @ outer @ to_midway for contrast, inner in maps.items()}
        for maps, outer in zip(within, midway, strict=True)
    ]


def resample_scan(scan: RawScan, maps: dict[str, Matrix], grid: Grid, first: str) -> dict[str, Volume]:
    """A scan's images (linear, see `spaces.resample`) and masks (nearest neighbour) on the grid, by name."""
    resampled = {contrast: resample(image, grid, maps[contrast]) for contrast, image in scan.images.items()}
    for name, mask in scan.masks.items():
        matrix = maps[first]
        if name == "change_mask" and scan.change_map is not None:
            matrix = np.linalg.inv(scan.change_map) @ matrix
        resampled[name] = resample_labels(mask, grid, matrix)
    return resampled


def midway_maps(maps: Sequence[Matrix]) -> list[Matrix]:
    """Maps (4, 4) from the midway space to each session, of rigid maps from the baseline to each session.

    With L_k the logarithms of the maps and m their mean, the midway space lies at exp(-m): for two sessions each map
    is half the way between them.
    """
    mean = np.mean([np.real(logm(matrix)) for matrix in maps], axis=0)
    return [np.asarray(matrix @ expm(-mean)) for matrix in maps]


def cubic(volume: Volume, spacing_mm: float) -> Volume:
    """A volume on cubic RAS+ voxels around its own field."""
    return resample(volume, isotropic_grid(volume.grid, spacing_mm), np.eye(4))


def even(volume: Volume) -> Volume:
    """A head without the coil's slow change of brightness, good enough to register by.

    The image over its own mean within some centimetres (homomorphic unsharp masking; Brinkmann et al., IEEE TMI 17,
    1998). N4, which is better and slower, follows on the common grid.
    """
    coarse = cubic(volume, EVEN_SPACING_MM)
    head, data = foreground(coarse), np.asarray(coarse.data, dtype=np.float32)
    sigma = EVEN_WIDTH_MM / EVEN_SPACING_MM
    weight = ndimage.gaussian_filter(head.astype(np.float32), sigma)
    total = ndimage.gaussian_filter(np.where(head, data, 0), sigma)
    mean = np.where(weight > EVEN_LEAST_SHARE, total / np.maximum(weight, EVEN_LEAST_SHARE), data[head].mean())
    field = resample(Volume(mean / mean[head].mean(), coarse.affine), volume.grid, np.eye(4))
    return Volume(np.asarray(volume.data / np.maximum(field.data, EVEN_LEAST_SHARE)), volume.affine)


def session_masks(volume: Volume, brain: Volume, matrix: Matrix) -> RegistrationMasks:
    """A session's head, for the search, and its brain, from the template's by the map (4, 4) from MNI space."""
    inside = resample_labels(brain, volume.grid, np.asarray(np.linalg.inv(matrix), dtype=np.float64)).data
    near = np.asarray(ndimage.binary_dilation(inside, ball(volume.grid, BRAIN_MARGIN_MM)))
    head = np.asarray(ndimage.binary_dilation(foreground(volume), iterations=2))
    return RegistrationMasks(head | near, near)


def _mean_image(
    images: Sequence[dict[str, Volume]], within: Sequence[dict[str, Matrix]], midway: Sequence[Matrix], first: str
) -> Volume:
    """The mean of the sessions in midway space, each divided by its own head's mean."""
    contrast = TEMPLATE_CONTRAST if any(TEMPLATE_CONTRAST in session for session in images) else first
    grid = images[0][first].grid
    total = np.zeros(grid.shape, dtype=np.float32)
    for session, inner, outer in zip(images, within, midway, strict=True):
        if contrast in session:
            moved = resample(session[contrast], grid, inner[contrast] @ outer)
            data = np.asarray(moved.data, dtype=np.float32)
            total += data / max(float(data[foreground(moved)].mean()), 1e-6)
    return Volume(total, grid.affine)


def _check_scaling(matrix: Matrix) -> None:
    """Raise BadInput where a map to the template would not leave a head a head."""
    scaling = abs(np.linalg.det(matrix[:3, :3]))
    low, high = SCALING_LIMITS
    if not low < scaling < high:
        raise BadInput(
            f"registration to the template: expected a brain of {low} to {high} template volumes, got {scaling:.2f}; "
            "look at the scans, and exclude the patient or choose another backend"
        )
