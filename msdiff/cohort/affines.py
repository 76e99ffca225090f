"""Affine transforms as ITK text files, the format in which open_ms publishes its registrations.

Convention, everywhere in msdiff and as ANTs and elastix write it: the file `A_to_B.txt` serves to resample image A onto
space B. It maps a point of B (mm) to the point of A (mm) whose intensity belongs there; its coordinates are LPS,
x to the left and y to posterior. In memory an affine is a (4, 4) array on RAS+ mm.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from msdiff.errors import BadInput
from msdiff.writing import whole_file

LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def save_affine(affine: NDArray[np.float64], path: str | Path) -> None:
    """Write an affine (4, 4) on RAS+ mm as ITK text on LPS mm."""
    lps = LPS_FROM_RAS @ affine @ LPS_FROM_RAS
    numbers = " ".join(repr(float(value)) for value in [*lps[:3, :3].ravel(), *lps[:3, 3]])
    lines = [
        "#Insight Transform File V1.0",
        "#Transform 0",
        "Transform: MatrixOffsetTransformBase_double_3_3",
        f"Parameters: {numbers}",
        "FixedParameters: 0 0 0",
    ]
    with whole_file(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n")


def load_affine(path: str | Path) -> NDArray[np.float64]:
    """Read an ITK text affine as (4, 4) on RAS+ mm: B to A for the file `A_to_B.txt`.

    Raises BadInput where the file is missing, not an ITK text affine, or singular.
    """
    try:
        fields = dict(line.split(":", 1) for line in Path(path).read_text().splitlines() if ":" in line)
        parameters = np.array(fields["Parameters"].split(), dtype=np.float64)
        centre = np.array(fields["FixedParameters"].split(), dtype=np.float64)
        matrix = parameters[:9].reshape(3, 3)
        # ITK: y = M (x - c) + c + t
        offset = parameters[9:12].reshape(3) + centre.reshape(3) - matrix @ centre
    except (OSError, KeyError, ValueError) as error:
        raise BadInput(f"{path}: expected an ITK affine transform as text, cannot read it ({error!r})") from error
    lps = np.eye(4)
    lps[:3, :3], lps[:3, 3] = matrix, offset
    if not np.isfinite(lps).all() or abs(np.linalg.det(matrix)) < 1e-6:
        raise BadInput(f"{path}: expected an invertible affine, got a singular one; repair the transform")
    return np.asarray(LPS_FROM_RAS @ lps @ LPS_FROM_RAS)


def move(affine: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (N, 3) moved by an affine (4, 4)."""
    return np.asarray(points @ affine[:3, :3].T + affine[:3, 3])
