"""Slices as the page holds them: 12 bits a pixel, two pixels in three bytes, in base64.

Window and level need more than 8 bits, and browsers reduce a PNG of 16 to 8; scanners give 12. Packed and cut to the
brain, a pair of slices of 256 x 256 voxels takes about 0.1 MB, and 0.26 MB where nothing can be cut.
"""

import base64
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

LEVELS = 4096

Convention = Literal["radiological", "neurological"]


def packed_image(image: NDArray[np.floating]) -> str:
    """An image (y, x) in [-1, 1] as the page holds it, row by row as it lies.

    What is real comes from a stack of float16 and what is generated does not: both are rounded to it first, so that no
    digit tells them apart.
    """
    rounded = image.astype(np.float16).astype(np.float64)
    codes = np.rint((rounded.clip(-1, 1) + 1) / 2 * (LEVELS - 1)).astype(np.uint16).ravel()
    first, second = np.append(codes, np.zeros(codes.size % 2, np.uint16)).reshape(-1, 2).T
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=1)
    return base64.b64encode(packed.astype(np.uint8).tobytes()).decode()


def packed_mask(mask: NDArray[np.bool_]) -> str:
    """A mask (y, x) as the page holds it: one bit a pixel, the highest of a byte first, row by row without gaps."""
    return base64.b64encode(np.packbits(mask.ravel()).tobytes()).decode()


def box_of(masks: NDArray[np.bool_], margin: int) -> tuple[slice, slice]:
    """The rows and columns that hold all of masks (case, y, x), and `margin` pixels around, within the slice."""
    shown = np.logical_or.reduce(masks)
    return _range(np.logical_or.reduce(shown, axis=1), margin), _range(np.logical_or.reduce(shown, axis=0), margin)


def _range(held: NDArray[np.bool_], margin: int) -> slice:
    places = np.flatnonzero(held)
    first, last = (int(places[0]), int(places[-1])) if places.size else (0, len(held) - 1)
    return slice(max(0, first - margin), min(len(held), last + margin + 1))


def as_seen(image: NDArray[Any], convention: Convention) -> NDArray[Any]:
    """A slice (y, x) of a stack, y to anterior and x to the patient's right, as rows from above and columns from left.

    Anterior is above. Radiologists look from the feet: the patient's right is on the left.
    """
    return np.ascontiguousarray(image[::-1, ::-1] if convention == "radiological" else image[::-1])
