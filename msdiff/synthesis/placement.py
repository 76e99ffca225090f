"""Where a donor's lesions lie in another brain: each moved as it is, to the nearest place that has room for it.

Room is in the brain, within a margin of white matter in the slice, where no lesion is yet, old or new. A lesion that
finds none within the largest shift is left out. What was found is written down (`Pose`, and one shift for each lesion),
so that sampling needs no search, and no other array than the change masks.

A donor's mask may first be mirrored between left and right, turned and scaled: other forms of lesions than were seen.
"""

import math
from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat
from scipy import ndimage

from msdiff.images import Grid
from msdiff.settings import Settings
from msdiff.stack.reading import WHOLE, Stack

# FreeSurfer's labels of the white matter of cerebrum and cerebellum, left and right, and of the brainstem.
WHITE_MATTER = (2, 41, 7, 46, 16)
EIGHT_CONNECTED = np.ones((3, 3))
LEFT_OUT = "-"

Shift = tuple[int, int]


class PlacementSettings(Settings):
    """Section `synthesis.plan.mass.placement`.

    white_matter_margin_mm      how far from white matter, in the slice, a lesion may reach
    largest_shift_mm            of a lesion, from where it lies in the donor
    mirror                      probability that a donor's mask is mirrored between left and right
    largest_rotation_degrees    of a donor's mask about its centre, either way
    largest_scale               of a donor's mask; the smallest is its inverse
    """

    white_matter_margin_mm: NonNegativeFloat
    largest_shift_mm: NonNegativeFloat
    mirror: Annotated[float, Field(ge=0, le=1)]
    largest_rotation_degrees: Annotated[float, Field(ge=0, le=180)]
    largest_scale: Annotated[float, Field(ge=1, le=2)]


class Pose(NamedTuple):
    """What is done to a donor's mask before its lesions are moved."""

    mirrored: bool
    rotation_degrees: float
    scale: float


AS_IT_IS = Pose(False, 0.0, 1.0)


class Placed(NamedTuple):
    """A placed mask, the shift (y, x) in voxels of each lesion or None, and the share of voxels that is left."""

    mask: NDArray[np.bool_]
    shifts: list[Shift | None]
    surviving_fraction: float


class Placer:
    """Places donors' change masks in baselines; and places them again, as a plan's row says."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.grid = stack.grid
        self.changes = stack.array("change_mask")
        self.allowed = lru_cache(maxsize=4096)(self._allowed)
        self.offsets = lru_cache(maxsize=8)(self._offsets)

    # What only planning needs is opened when it is asked for.
    @cached_property
    def _regions(self) -> NDArray[Any]:
        return self.stack.array("regions")

    @cached_property
    def _brains(self) -> NDArray[Any]:
        return self.stack.array("brain_mask")

    @cached_property
    def _old_lesions(self) -> NDArray[Any] | None:
        known = (self.stack.folder / "lesion_mask.npy").is_file()
        return self.stack.array("lesion_mask") if known else None

    def mask(self, row: Mapping[str, Any]) -> NDArray[np.bool_]:
        """The change mask of a plan's row: a patient's own as it is, a donor's as it was placed (`place`)."""
        change = self.stack.read("change_mask", row["mask_row"], row["mask_slice"]) > 0
        if row["follow_up_row"] >= 0:
            return change
        if row["mask_slice"] == WHOLE:
            return self._in_brain(change, row["baseline_row"])
        pose = Pose(bool(row["mirrored"]), float(row["rotation_degrees"]), float(row["scale"]))
        lesions = _voxels(posed(change, pose, self.grid))
        placed = np.zeros_like(change)
        for voxels, shift in zip(lesions, read_shifts(row["shifts"]), strict=True):
            if shift is not None:
                placed[tuple((voxels + shift).T)] = True
        return np.asarray(placed)

    def place(
        self,
        baseline_row: int,
        number: int,
        mask_row: int,
        mask_slice: int,
        settings: PlacementSettings,
        pose: Pose = AS_IT_IS,
    ) -> Placed:
        """The donor's lesions, each at the nearest place with room for it in the baseline's slice `number`.

        In a whole volume they stay where they are, and what is outside the baseline's brain is left out.
        """
        if number == WHOLE:
            change = self.stack.read("change_mask", mask_row) > 0
            inside = self._in_brain(change, baseline_row)
            return Placed(inside, [], float(inside.sum()) / max(1, int(change.sum())))
        lesions = _voxels(posed(self.changes[mask_row, mask_slice] > 0, pose, self.grid))
        offsets = self.offsets(settings.largest_shift_mm)
        reach = int(np.abs(offsets).max(initial=0))
        room = np.pad(self.allowed(baseline_row, number, settings.white_matter_margin_mm), reach)
        placed = np.zeros_like(room)
        shifts: list[Shift | None] = []
        for voxels in lesions:
            shift = nearest(voxels + reach, room, offsets)
            shifts.append(shift)
            if shift is None:
                continue
            moved = voxels + reach + shift
            placed[tuple(moved.T)] = True
            # Lesions stay apart: where two touch they would count as one.
            for step in np.ndindex(3, 3):
                beside = np.clip(moved + step - np.ones(2, dtype=np.int64), 0, np.array(room.shape) - 1)
                room[tuple(beside.T)] = False
        inside = placed[reach : placed.shape[0] - reach, reach : placed.shape[1] - reach]
        whole = sum(len(voxels) for voxels in lesions)
        return Placed(inside, shifts, float(inside.sum()) / max(1, whole))

    def _in_brain(self, change: NDArray[np.bool_], baseline_row: int) -> NDArray[np.bool_]:
        return change & (self.stack.read("brain_mask", baseline_row) > 0)

    def _allowed(self, row: int, number: int, margin_mm: float) -> NDArray[np.bool_]:
        """Where a new lesion may lie: brain, within a margin of white matter in the slice, no lesion yet; (y, x)."""
        white_matter = np.isin(self._regions[row, number], WHITE_MATTER)
        if not white_matter.any():
            return np.zeros_like(white_matter)
        near = ndimage.distance_transform_edt(~white_matter, sampling=_spacing_mm(self.grid)) <= margin_mm
        allowed = near & (self._brains[row, number] > 0)
        old = self._old_lesions
        return np.asarray(allowed if old is None else allowed & ~(old[row, number] > 0))

    def _offsets(self, largest_mm: float) -> NDArray[np.int64]:
        """Shifts (n, 2) of (y, x) in voxels up to a length, the shortest first."""
        spacing_mm = _spacing_mm(self.grid)
        reach = np.floor(largest_mm / spacing_mm).astype(np.int64)
        steps = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij"), axis=-1).reshape(-1, 2)
        length_mm = np.linalg.norm(steps * spacing_mm, axis=1)
        order = np.lexsort((steps[:, 1], steps[:, 0], length_mm.round(6)))
        return np.asarray(steps[order][length_mm[order] <= largest_mm + 1e-6])


def nearest(voxels: NDArray[np.int64], room: NDArray[np.bool_], offsets: NDArray[np.int64]) -> Shift | None:
    """The first of the offsets (n, 2) that moves all voxels (m, 2) of a lesion into the room (y, x); None without one.

    The room reaches beyond the voxels by the largest offset.
    """
    width, open_ = room.shape[1], room.ravel()
    left = np.arange(len(offsets))
    steps = offsets @ np.array([width, 1])
    for place in voxels @ np.array([width, 1]):
        left = left[open_[place + steps[left]]]
        if not len(left):
            return None
    y, x = offsets[left[0]]
    return int(y), int(x)


def posed(mask: NDArray[np.bool_], pose: Pose, grid: Grid) -> NDArray[np.bool_]:
    """A mask (y, x) mirrored about x = 0 mm, then turned and scaled about its centre, by nearest neighbour."""
    if pose.mirrored:
        opposite = np.rint(-2 * grid.affine[0, 3] / grid.affine[0, 0]).astype(int) - np.arange(mask.shape[1])
        inside = (opposite >= 0) & (opposite < mask.shape[1])
        mask = np.where(inside, mask[:, opposite.clip(0, mask.shape[1] - 1)], False)
    if (pose.rotation_degrees or pose.scale != 1) and mask.any():
        angle, spacing_mm = math.radians(pose.rotation_degrees), _spacing_mm(grid)
        turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]) / pose.scale
        matrix = turn * spacing_mm / spacing_mm[:, None]
        centre = np.argwhere(mask).mean(axis=0)
        mask = ndimage.affine_transform(mask.astype(np.uint8), matrix, centre - matrix @ centre, order=0) > 0
    return mask


def choose_pose(settings: PlacementSettings, rng: np.random.Generator) -> Pose:
    """A pose at random, within the settings; always three random numbers are used."""
    side, turn, size = rng.random(), rng.uniform(-1, 1), rng.uniform(-1, 1)
    return Pose(
        bool(side < settings.mirror),
        round(turn * settings.largest_rotation_degrees, 3) + 0.0,  # no -0
        round(settings.largest_scale**size, 4),
    )


def write_shifts(shifts: list[Shift | None]) -> str:
    """Shifts as a plan's column has them: `y,x` for each lesion, `-` for one left out.

    >>> write_shifts([(0, -2), None])
    '0,-2;-'
    """
    return ";".join(LEFT_OUT if shift is None else f"{shift[0]},{shift[1]}" for shift in shifts)


def read_shifts(text: str) -> list[Shift | None]:
    """The shifts that `write_shifts` wrote.

    >>> read_shifts("0,-2;-")
    [(0, -2), None]
    """
    parts = [part.split(",") for part in text.split(";")] if text else []
    return [None if part == [LEFT_OUT] else (int(part[0]), int(part[1])) for part in parts]


def _voxels(mask: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """The voxels (n, 2) of every lesion of a mask (y, x), 8-connected, in the order of their first voxels."""
    labels, count = ndimage.label(mask, EIGHT_CONNECTED)
    return [np.argwhere(labels == label) for label in range(1, count + 1)]


def _spacing_mm(grid: Grid) -> NDArray[np.float64]:
    """Voxel size (2,) along (y, x)."""
    return np.asarray(grid.spacing_mm[:2][::-1])
