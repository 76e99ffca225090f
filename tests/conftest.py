"""Fixtures that several folders of tests share."""

import os
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MADE_HERE = (".venv", ".environments", ".snakemake", "results", "*_cache", "__pycache__", "*.egg-info")
LEFT_BEHIND = shutil.ignore_patterns(".git", *MADE_HERE)


@pytest.fixture(scope="session")
def checkout(tmp_path_factory):
    """A clean copy of the project, without results."""
    copy = tmp_path_factory.mktemp("checkout") / "msdiff"
    shutil.copytree(ROOT, copy, symlinks=True, ignore=LEFT_BEHIND)
    return copy


@pytest.fixture(scope="session")
def environment():
    """The environment of a user who activated the one that runs the tests."""
    folder = str(Path(sys.executable).parent)
    return os.environ | {"PATH": os.pathsep.join([folder, os.environ["PATH"]])}


@pytest.fixture(scope="session")
def head():
    """A T1w head of 4 mm voxels: the template's brain, dark fluid and bone around it, bright skin around those."""
    import numpy as np
    from scipy import ndimage

    from msdiff.images import Volume, axis_aligned_grid
    from msdiff.template import load_template, template_brain

    grid = axis_aligned_grid((60, 68, 56), (4.0, 4.0, 4.0), (0.0, -18.0, 0.0))
    brain = template_brain(grid)
    bone = ndimage.binary_dilation(brain, iterations=3)
    skin = ndimage.binary_dilation(brain, iterations=5) & ~bone
    data = np.where(brain, load_template("t1", grid).data * 700, np.where(bone, 60, np.where(skin, 900, 0)))
    noise = np.abs(np.random.default_rng(0).normal(0, 8, grid.shape))
    return Volume((data + noise).astype(np.float32), grid.affine)


@pytest.fixture(scope="session")
def scan_head():
    """A function that scans a head in a pose (degrees about x, y, z; mm) and thick slices: the scan, and its map."""
    import numpy as np
    from scipy.spatial.transform import Rotation

    from msdiff.images import axis_aligned_grid
    from msdiff.spaces import resample

    def scan(head, degrees, shift_mm):
        centre = np.array([0.0, -18.0, 8.0])
        pose = np.eye(4)
        pose[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
        pose[:3, 3] = centre - pose[:3, :3] @ centre + np.array(shift_mm)
        grid = axis_aligned_grid((70, 76, 42), (3.5, 3.5, 5.5), (0.0, -18.0, 0.0))
        return resample(head, grid, np.linalg.inv(pose)), pose

    return scan


@pytest.fixture(scope="session")
def apart_mm():
    """A function for the mean distance in mm that two maps (4, 4) leave between points of the brain."""
    import numpy as np

    def apart(one, other):
        points = np.random.default_rng(0).normal(size=(200, 3)) * [30, 35, 30] + [0, -18, 8]
        first, second = (points @ matrix[:3, :3].T + matrix[:3, 3] for matrix in (one, other))
        return float(np.linalg.norm(first - second, axis=1).mean())

    return apart
