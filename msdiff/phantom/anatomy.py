"""The anatomy under the phantom: MNI152 tissue maps, a head around them, and each patient's own shape.

Tissues come from the T1, grey- and white-matter maps of the ICBM 152 nonlinear symmetric atlas (Fonov et al.,
NeuroImage 2011), as the nilearn package ships them (197 x 233 x 189 voxels of 1 mm). CSF is what they leave of the
interior of the skull; skull, scalp, eyes, face and neck are shells and solids around the brain.

A patient's head space (RAS+ mm) differs from the atlas by a size and a diffeomorphism,

    atlas point = A (h + u(h)),    id + u = exp(v)

with v a smooth random velocity field, integrated by scaling and squaring (Arsigny et al., MICCAI 2006).
"""

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from msdiff.errors import BadInput, BadSettings
from msdiff.images import Grid

TISSUES = ("csf", "grey_matter", "white_matter", "marrow", "fat", "muscle")
TISSUE_LABELS = {"csf": 1, "grey_matter": 2, "white_matter": 3}

ATLAS_ORIGIN_MM = np.array([-98.0, -134.0, -72.0])
# Room for skull, scalp and face around the atlas.
MARGIN_MM = 24
# The atlas averages 152 brains, which blurs the cortex: probabilities are raised to this power, and CSF, whose sulci
# the average thins out most, is weighted up.
SHARPENING = 1.7
CSF_WEIGHT = 2.2
# Velocity fields are smooth over centimetres; lesion positions need no finer prior than this.
WARP_GRID_MM = 8.0
PRIOR_GRID_MM = 3
SQUARINGS = 6


class Head(NamedTuple):
    """Tissue shares float32 (tissue, X, Y, Z) in [0, 1] in the order of TISSUES, bone and air being what is left.

    `brain` (X, Y, Z) in [0, 1] is the interior of the skull.
    """

    shares: NDArray[np.float32]
    brain: NDArray[np.float32]
    grid: Grid


class Shape(NamedTuple):
    """A patient's shape: displacement (3, X, Y, Z) in mm on a coarse grid of head space, and the size affine (4, 4)."""

    displacement_mm: NDArray[np.float64]
    grid: Grid
    atlas_from_sized: NDArray[np.float64]


def atlas_maps(spacing_mm: int) -> dict[str, NDArray[np.float32]]:
    """T1 intensity, grey- and white-matter shares (X, Y, Z), averaged to cubes of a whole number of mm, with a margin.

    Values are in [0, 1]; the grid is `atlas_grid(spacing_mm)`.
    """
    return {name: _blocks(_atlas_file(name), spacing_mm) for name in ("t1", "gm", "wm")}


def atlas_grid(shape: tuple[int, ...], spacing_mm: int) -> Grid:
    """Grid of the averaged atlas maps in RAS+ mm."""
    affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0]).astype(np.float64)
    affine[:3, 3] = ATLAS_ORIGIN_MM - MARGIN_MM + (spacing_mm - 1) / 2
    x, y, z = shape
    return Grid((x, y, z), affine)


@lru_cache(maxsize=2)
def atlas_head(spacing_mm: int) -> Head:
    """The atlas with a head around it."""
    maps = atlas_maps(spacing_mm)
    grid = atlas_grid(maps["t1"].shape, spacing_mm)
    cavity = _cavity(maps["t1"], spacing_mm)
    grey, white = maps["gm"] ** SHARPENING, maps["wm"] ** SHARPENING
    csf = CSF_WEIGHT * np.clip(cavity - maps["gm"] - maps["wm"], 0, 1) ** SHARPENING
    total = np.maximum(grey + white + csf, 1e-6)
    shares = np.zeros((len(TISSUES), *grid.shape), dtype=np.float32)
    for tissue, part in (("csf", csf), ("grey_matter", grey), ("white_matter", white)):
        shares[TISSUES.index(tissue)] = np.clip(part / total, 0, 1) * cavity
    _add_head(shares, cavity > 0.5, grid)
    return Head(shares, cavity.astype(np.float32), grid)


def simulate_shape(warp_mm: float, smoothness_mm: float, size_percent: float, rng: np.random.Generator) -> Shape:
    """A patient's own shape: displacements of about `warp_mm` (root mean square), sizes by axis within a few percent.

    Raises BadSettings where the warp folds, that is where it is too strong for its smoothness.
    """
    extent = np.array([197, 233, 189]) + 2 * MARGIN_MM
    x, y, z = (int(steps) for steps in np.ceil(extent / WARP_GRID_MM) + 1)
    affine = np.diag([WARP_GRID_MM, WARP_GRID_MM, WARP_GRID_MM, 1.0])
    affine[:3, 3] = ATLAS_ORIGIN_MM - MARGIN_MM
    velocity = rng.standard_normal((3, x, y, z))
    velocity = np.stack([ndimage.gaussian_filter(part, smoothness_mm / WARP_GRID_MM) for part in velocity])
    velocity *= warp_mm / np.maximum(np.sqrt((velocity**2).sum(axis=0).mean()), 1e-12)
    displacement = velocity / 2**SQUARINGS
    voxels = np.indices((x, y, z), dtype=np.float64)
    for _ in range(SQUARINGS):
        places = voxels + displacement / WARP_GRID_MM
        displacement = displacement + np.stack(
            [ndimage.map_coordinates(part, places, order=1, mode="nearest") for part in displacement]
        )
    size = np.eye(4)
    size[:3, :3] = np.diag(np.exp(rng.normal(0.0, size_percent / 100, 3)))
    shape = Shape(displacement, Grid((x, y, z), affine), size)
    if jacobians(shape).min() <= 0:
        raise BadSettings("anatomy: the warp folds space; lower warp_mm or raise warp_smoothness_mm")
    return shape


def jacobians(shape: Shape) -> NDArray[np.float64]:
    """Jacobian determinants (X, Y, Z) of head points to sized points; all positive for a diffeomorphism."""
    columns = [np.gradient(part, WARP_GRID_MM) for part in shape.displacement_mm]
    matrix = np.moveaxis(np.array(columns), (0, 1), (-2, -1)) + np.eye(3)
    return np.asarray(np.linalg.det(matrix))


def to_atlas(shape: Shape, points_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Atlas points (N, 3) of head points (N, 3), both in RAS+ mm."""
    places = (points_mm - shape.grid.affine[:3, 3]).T / WARP_GRID_MM
    moved = points_mm + np.stack(
        [ndimage.map_coordinates(part, places, order=1, mode="nearest") for part in shape.displacement_mm], axis=1
    )
    return np.asarray(moved @ shape.atlas_from_sized[:3, :3].T + shape.atlas_from_sized[:3, 3])


def to_head(shape: Shape, points_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Head points (N, 3) of atlas points (N, 3), in RAS+ mm: h = A^-1 a - u(h), by fixed point."""
    inverse = np.linalg.inv(shape.atlas_from_sized)
    sized = points_mm @ inverse[:3, :3].T + inverse[:3, 3]
    head = sized.copy()
    for _ in range(30):
        reached = to_atlas(shape, head) @ inverse[:3, :3].T + inverse[:3, 3]
        head = head + (sized - reached)
    return np.asarray(head)


def deform(atlas: Head, shape: Shape, grid: Grid) -> Head:
    """The atlas' head in a patient's shape, on an axis-aligned grid of head space; linear interpolation, 0 outside."""
    spacing, origin = np.diag(grid.affine)[:3], grid.affine[:3, 3]
    of_atlas = atlas.grid
    step = spacing / WARP_GRID_MM
    offset = (origin - shape.grid.affine[:3, 3]) / WARP_GRID_MM
    indices = np.meshgrid(*(np.arange(size, dtype=np.float32) for size in grid.shape), indexing="ij", sparse=True)
    places = np.empty((3, *grid.shape), dtype=np.float32)
    for axis in range(3):
        displacement = ndimage.affine_transform(
            shape.displacement_mm[axis].astype(np.float32),
            np.diag(step),
            offset,
            output_shape=grid.shape,
            order=1,
            mode="nearest",
        )
        sized_mm = indices[axis] * spacing[axis] + origin[axis] + displacement
        scale, shift = shape.atlas_from_sized[axis, axis], shape.atlas_from_sized[axis, 3]
        places[axis] = (sized_mm * scale + shift - of_atlas.affine[axis, 3]) / of_atlas.spacing_mm[axis]
    parts = [ndimage.map_coordinates(part, places, order=1, mode="constant") for part in (*atlas.shares, atlas.brain)]
    return Head(np.stack(parts[:-1]), parts[-1], grid)


@lru_cache(maxsize=1)
def lesion_places() -> dict[str, NDArray[np.float64]]:
    """Atlas points (N, 3) in RAS+ mm where lesions of each region may sit: voxel centres of a coarse grid.

    Periventricular: white matter within 10 mm of the lateral ventricles; juxtacortical: within 4 mm of the
    cortex; deep: the rest of the white matter; cortical: the cortex itself. Cerebellum and brainstem are left out.
    """
    maps = atlas_maps(PRIOR_GRID_MM)
    grid = atlas_grid(maps["t1"].shape, PRIOR_GRID_MM)
    x, y, z = _coordinates(grid)
    cavity = _cavity(maps["t1"], PRIOR_GRID_MM) > 0.5
    white, grey = maps["wm"], maps["gm"]
    csf = np.clip(cavity - white - grey, 0, 1)
    cerebrum = (z > -22) & ~((z < 0) & (y < -40)) & (z < 68)
    ventricles = (csf > 0.5) & (np.abs(x) < 42) & (y > -60) & (y < 42) & (z > -6) & (z < 34)
    outside_mm = ndimage.distance_transform_edt(cavity) * PRIOR_GRID_MM
    ventricles &= outside_mm > 18
    deep_grey = (np.abs(x) < 36) & (y > -42) & (y < 28) & (z > -22) & (z < 24)
    cortex = (grey > 0.6) & cerebrum & ~deep_grey
    from_ventricle = ndimage.distance_transform_edt(~ventricles) * PRIOR_GRID_MM
    from_cortex = ndimage.distance_transform_edt(~cortex) * PRIOR_GRID_MM
    matter = (white > 0.7) & cerebrum
    periventricular = matter & (from_ventricle <= 10) & (z > -4)
    juxtacortical = matter & ~periventricular & (from_cortex <= 4)
    regions = {
        "periventricular": periventricular,
        "deep": matter & ~periventricular & ~juxtacortical,
        "juxtacortical": juxtacortical,
        "cortical": cortex & (outside_mm > 3),
    }
    return {name: np.argwhere(mask) * PRIOR_GRID_MM + grid.affine[:3, 3] for name, mask in regions.items()}


@lru_cache(maxsize=3)
def _atlas_file(name: str) -> NDArray[np.uint8]:
    spec = find_spec("nilearn")
    if spec is None or not spec.submodule_search_locations:
        raise BadInput("phantom: expected the package nilearn, which holds the MNI152 maps; install it")
    folder = Path(spec.submodule_search_locations[0]) / "datasets" / "data"
    path = folder / f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz"
    if not path.is_file():
        raise BadInput(f"{path}: no such file; install a nilearn that ships the MNI152 maps (0.8 or later)")
    return np.asarray(nib.Nifti1Image.from_filename(path).dataobj)


def _blocks(volume: NDArray[np.uint8], spacing_mm: int) -> NDArray[np.float32]:
    """Averages over cubes, scaled to [0, 1], with the margin around."""
    after = [MARGIN_MM + (-(size + 2 * MARGIN_MM)) % spacing_mm for size in volume.shape]
    padded = np.pad(volume, [(MARGIN_MM, end) for end in after])
    x, y, z = (size // spacing_mm for size in padded.shape)
    cubes = padded.reshape(x, spacing_mm, y, spacing_mm, z, spacing_mm)
    return np.asarray(cubes.mean(axis=(1, 3, 5), dtype=np.float32) / np.float32(255))


def _cavity(t1: NDArray[np.float32], spacing_mm: int) -> NDArray[np.float32]:
    """Interior of the skull (X, Y, Z) in [0, 1]: the brain, its holes and sulci closed, and a rim of CSF."""
    brain = ndimage.binary_fill_holes(_ball_close(t1 > 0.15, 6.0 / spacing_mm))
    rim = ndimage.distance_transform_edt(~brain) <= 1.6 / spacing_mm
    return np.asarray(ndimage.gaussian_filter(rim.astype(np.float32), 0.5 / spacing_mm))


def _ball_close(mask: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    grown = ndimage.distance_transform_edt(~mask) <= radius
    return np.asarray(ndimage.distance_transform_edt(grown) > radius) | mask


def _coordinates(grid: Grid) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    axes = [
        np.arange(size, dtype=np.float32) * np.float32(step) + np.float32(start)
        for size, step, start in zip(grid.shape, grid.spacing_mm, grid.affine[:3, 3], strict=True)
    ]
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    return x, y, z


def _add_head(shares: NDArray[np.float32], cavity: NDArray[np.bool_], grid: Grid) -> None:
    """Fill skull, scalp, eyes, face and neck into the tissue shares, in place. Lengths in mm of the atlas."""
    spacing = grid.spacing_mm[0]
    x, y, z = _coordinates(grid)
    from_brain = ndimage.distance_transform_edt(~cavity) * spacing
    outside = ~cavity

    def solid(centre: tuple[float, float, float], radii: tuple[float, float, float]) -> NDArray[np.bool_]:
        inside = sum(((a - c) / r) ** 2 for a, c, r in zip((x, y, z), centre, radii, strict=True)) < 1
        return np.asarray(inside)

    face = solid((0, 22, -58), (62, 76, 72)) & (z < 20)
    neck = ((x / 58) ** 2 + ((y + 32) / 64) ** 2 < 1) & (z < -40)
    head = (from_brain <= 14) | face | neck
    head = ndimage.binary_fill_holes(_ball_close(head, 10.0 / spacing))
    from_air = ndimage.distance_transform_edt(head) * spacing
    # The vault is 7 mm of bone with marrow between its tables; around the brainstem's exit it is open.
    exit_of_brainstem = (np.abs(x) < 20) & (y > -60) & (y < -15) & (z < -55)
    skull = outside & (from_brain <= 7) & ~exit_of_brainstem
    marrow = skull & (from_brain > 2.2) & (from_brain < 5.2) & (z > -40)
    soft = head & outside & ~skull
    skin = soft & ((from_air < 5) | (from_brain < 9))
    eyes = np.zeros_like(soft)
    orbits = np.zeros_like(soft)
    for side in (-1, 1):
        orbits |= solid((side * 33, 56, -38), (20, 26, 18))
        eyes |= solid((side * 33, 64, -38), (12.5, 12.5, 12.5))
    airways = solid((0, 62, -52), (13, 30, 26)) | solid((0, 30, -58), (13, 18, 12))
    spine = solid((0, -38, -90), (9, 9, 60))
    fat = skin | (soft & orbits)
    muscle = soft & ~fat
    for tissue, mask in (
        ("marrow", marrow),
        ("fat", fat & ~eyes & ~airways),
        ("muscle", muscle & ~eyes & ~airways & ~spine),
        ("csf", (soft & eyes) | (muscle & spine)),
    ):
        layer = ndimage.gaussian_filter(mask.astype(np.float32), 0.6 / spacing)
        shares[TISSUES.index(tissue)] += layer * np.clip(1 - shares.sum(axis=0), 0, 1)
