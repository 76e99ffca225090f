"""Label maps to train a parcellator on: SynthSeg's twelve heads, and the phantom's.

SynthSeg's maps (repository BBillot/SynthSeg, data/training_label_maps, Apache-2.0) hold FreeSurfer's structures and,
from 502 on, the tissues around the brain. The phantom's map knows tissues only; there the loss sums the posteriors of
all structures that a tissue may be.
"""

from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from msdiff.errors import BadInput
from msdiff.phantom import anatomy

BODY = ("csf", "grey_matter", "white_matter", "bone", "marrow", "fat", "muscle")

# What each code is made of, in shares of BODY's intensities. Deep nuclei hold fibres; the rest is variance.
_CSF, _GREY, _WHITE = {"csf": 1.0}, {"grey_matter": 1.0}, {"white_matter": 1.0}
_CHOROID = {"csf": 0.5, "grey_matter": 0.5}
_THALAMUS = {"grey_matter": 0.55, "white_matter": 0.45}
_STRIATUM = {"grey_matter": 0.9, "white_matter": 0.1}
_PALLIDUM = {"grey_matter": 0.3, "white_matter": 0.7}
_STEM = {"grey_matter": 0.2, "white_matter": 0.8}
_VESSEL = {"muscle": 0.5, "csf": 0.2}
_SOFT = {"fat": 0.45, "muscle": 0.55}
CODES: dict[int, dict[str, float]] = {
    0: {},
    **dict.fromkeys((4, 5, 14, 15, 24, 43, 44, 72, 506), _CSF),
    **dict.fromkeys((3, 8, 17, 18, 42, 47, 53, 54), _GREY),
    **dict.fromkeys((2, 7, 25, 41, 46, 57, 85, 530), _WHITE),
    **dict.fromkeys((136, 137, 163, 164), _CHOROID),
    **dict.fromkeys((10, 49), _THALAMUS),
    **dict.fromkeys((11, 12, 26, 50, 51, 58), _STRIATUM),
    **dict.fromkeys((13, 52, 28, 60), _PALLIDUM),
    **dict.fromkeys((16, 512), _STEM),
    **dict.fromkeys((30, 62, 502, 514), _VESSEL),
    **dict.fromkeys((507, 509), _SOFT),
    508: {"muscle": 1.0},
    511: {"fat": 0.8, "muscle": 0.2},
    515: {"bone": 1.0},
    516: {"marrow": 1.0},
}
POSITIONS = {code: position for position, code in enumerate(CODES)}

# What the maps tell apart and the posteriors do not: lesions are white matter, choroid plexus is ventricle.
MERGED = {25: 2, 57: 41, 136: 4, 137: 5, 163: 43, 164: 44}

# Structures by the tissue that the phantom's map calls them.
TISSUE_OF = {
    "csf": (24, 4, 5, 14, 15, 43, 44),
    "grey_matter": (3, 42, 8, 47, 17, 18, 53, 54, 11, 12, 26, 50, 51, 58, 10, 49),
    "white_matter": (2, 41, 7, 46, 16, 28, 60, 13, 52),
}

PHANTOM = "phantom"
SUFFIX = ".nii.gz"
# Around the brain: skull and scalp.
MARGIN_MM = 25
WHERE = (
    "SynthSeg's repository has them (https://github.com/BBillot/SynthSeg, data/training_label_maps, Apache-2.0): "
    "put its training_seg_*.nii.gz into a folder and name it in parcellation.training.label_maps"
)


class LabelMap(NamedTuple):
    """A head at 1 mm, RAS: positions in CODES and distances to the lateral ventricles in mm, both uint8 (X, Y, Z).

    `brain_box` (2, 3): lowest and highest voxel of the brain. `tissues_only`: a phantom's map.
    """

    name: str
    codes: NDArray[np.uint8]
    ventricle_mm: NDArray[np.uint8]
    brain_box: NDArray[np.float64]
    tissues_only: bool


def label_map_paths(folder: str | Path | None, held_out: tuple[str, ...]) -> tuple[list[Path], list[Path]]:
    """The maps to train on and the held-out ones; BadInput where there is none, or a held-out one is missing."""
    paths = sorted(Path(folder).glob(f"*{SUFFIX}")) if folder is not None else []
    if not paths:
        raise BadInput(f"label maps: expected a folder of *{SUFFIX}, got {folder}; {WHERE}")
    kept_apart = [path for path in paths if path.name.removesuffix(SUFFIX) in held_out]
    if len(kept_apart) < len(held_out):
        raise BadInput(f"{folder}: expected the held-out maps {', '.join(held_out)}; correct held_out. {WHERE}")
    train = [path for path in paths if path not in kept_apart]
    if not train:
        raise BadInput(f"{folder}: expected maps to train on beside the held-out ones, got none; {WHERE}")
    return train, kept_apart


def read_label_map(path: str | Path) -> LabelMap:
    """One map of SynthSeg's; BadInput where it is not 1 mm or holds an unknown label."""
    image = nib.as_closest_canonical(nib.load(path))
    if not np.allclose(image.header.get_zooms()[:3], 1, atol=0.01):
        raise BadInput(f"{path}: expected voxels of 1 mm, got {image.header.get_zooms()[:3]}; resample the map")
    values = np.asarray(image.dataobj)
    unknown = sorted(set(np.unique(values).tolist()) - set(CODES))
    if unknown:
        raise BadInput(f"{path}: expected labels of SynthSeg's maps, got {unknown[:5]}; {WHERE}")
    lookup = np.zeros(max(CODES) + 1, dtype=np.uint8)
    for code, position in POSITIONS.items():
        lookup[code] = position
    return _cropped(Path(path).name.removesuffix(SUFFIX), lookup[values.astype(np.int32)], False)


def phantom_map() -> LabelMap:
    """The phantom's head at 1 mm."""
    return _cropped(PHANTOM, phantom_codes(1), True)


def phantom_codes(spacing_mm: int) -> NDArray[np.uint8]:
    """The phantom's most frequent tissue per voxel (X, Y, Z), as positions in CODES, RAS.

    Left and right divide at the midsagittal plane.
    """
    head = anatomy.atlas_head(spacing_mm)
    bone = np.clip(1 - head.shares.sum(axis=0), 0, 1)
    tissue = head.shares.argmax(axis=0)
    x_mm = head.grid.affine[0, 0] * np.arange(head.grid.shape[0]) + head.grid.affine[0, 3]
    left = np.broadcast_to((x_mm < 0)[:, None, None], tissue.shape)
    inside = head.brain > 0.5
    codes = np.zeros(tissue.shape, dtype=np.uint8)
    names = {name: tissue == number for number, name in enumerate(anatomy.TISSUES)}
    for mask, code in (
        (names["csf"] & inside, 24),
        (names["csf"] & ~inside, 506),
        (names["grey_matter"] & left, 3),
        (names["grey_matter"] & ~left, 42),
        (names["white_matter"] & left, 2),
        (names["white_matter"] & ~left, 41),
        (names["marrow"], 516),
        (names["fat"], 511),
        (names["muscle"], 508),
    ):
        codes[mask] = POSITIONS[code]
    hidden = bone > head.shares.max(axis=0)
    near = np.asarray(ndimage.binary_dilation(inside, iterations=max(1, 9 // spacing_mm)))
    codes[hidden] = np.where(near, POSITIONS[515], 0)[hidden]
    return codes


def _cropped(name: str, codes: NDArray[np.uint8], tissues_only: bool) -> LabelMap:
    order = np.array(list(CODES))
    brain = np.isin(codes, np.flatnonzero((order > 0) & (order < 500) & (order != 24)))
    box = np.array([[edge.start, edge.stop - 1] for edge in ndimage.find_objects(brain.astype(np.uint8))[0]])
    low = np.maximum(box[:, 0] - MARGIN_MM, 0)
    high = np.minimum(box[:, 1] + MARGIN_MM + 1, codes.shape)
    codes = np.ascontiguousarray(codes[tuple(slice(a, b) for a, b in zip(low, high, strict=True))])
    # At 2 mm, which is fine enough for where lesions lie. The phantom's ventricles are CSF deep inside the brain.
    coarse = codes[::2, ::2, ::2]
    wanted = [POSITIONS[code] for code in (4, 5, 43, 44)]
    if tissues_only:
        interior = np.asarray(ndimage.binary_erosion((order[coarse] > 0) & (order[coarse] < 500), iterations=9))
        ventricles = (coarse == POSITIONS[24]) & interior
    else:
        ventricles = np.isin(coarse, wanted)
    distance_mm = ndimage.distance_transform_edt(~ventricles) * 2 if ventricles.any() else np.full(coarse.shape, 255)
    distance = np.minimum(distance_mm, 255).astype(np.uint8)
    for axis in range(3):
        distance = np.repeat(distance, 2, axis=axis)
    distance = np.ascontiguousarray(distance[tuple(slice(0, size) for size in codes.shape)])
    return LabelMap(
        name, codes, distance, np.stack([box[:, 0] - low, box[:, 1] - low]).astype(np.float64), tissues_only
    )
