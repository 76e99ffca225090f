import os
from pathlib import Path

import numpy as np
import pytest
import torch

from msdiff.errors import BadInput
from msdiff.images import Volume, axis_aligned_grid, load_image, load_mask
from msdiff.preprocess import deepbet
from msdiff.preprocess.skull_stripping import Session
from msdiff.spaces import load_itk_affine, resample_labels

GRID = axis_aligned_grid((32, 40, 16), (6.0, 6.0, 12.0), (0.0, -18.0, 8.0))
OPTIONS = {"threshold": 0.5}
SHARED = os.environ.get("MSDIFF_SHARED")


def session(data):
    return Session({}, {"t1w": Volume(np.asarray(data, np.float32), GRID.affine)}, None)


def test_scan_without_a_brain_is_told():
    data = np.zeros(GRID.shape)
    data[3, 3, 3] = 1
    with pytest.raises(BadInput, match="deepbet found no brain; look at the registered scan"):
        deepbet.strip_skull(session(data), OPTIONS, 1)


def test_threads_and_threshold_reach_the_network(monkeypatch):
    """What msdiff hands over, and that a mask of any type comes back as bool; the network itself: tests/backends."""
    seen = {}

    class Network:
        def run(self, image, threshold):
            seen.update(threshold=threshold, threads=torch.get_num_threads(), shape=image.shape)
            return None, type(image)(np.ones(GRID.shape, np.float32), image.affine), 0.0

    before = torch.get_num_threads()
    monkeypatch.setattr(deepbet, "_network", Network)
    brain = deepbet.strip_skull(session(np.ones(GRID.shape)), {"threshold": 0.4}, 2)
    torch.set_num_threads(before)
    assert seen == {"threshold": 0.4, "threads": 2, "shape": GRID.shape}
    assert brain.dtype == bool
    assert brain.all()


@pytest.mark.skipif(SHARED is None, reason="MSDIFF_SHARED does not point at the real scans")
@pytest.mark.parametrize("patient", ["patient01", "patient12"])
def test_real_brains_are_as_published(patient):
    """In the raw FLAIR's own space, where the published brain is carried by the published transform."""
    longitudinal = Path(SHARED or "") / "data/open_ms_data/longitudinal"
    flair = load_image(longitudinal / "raw" / patient / "study1_FLAIR.nii.gz")
    to_flair = load_itk_affine(longitudinal / "raw" / patient / "study1_FLAIR_to_common_space.txt")
    published = load_mask(longitudinal / "coregistered" / patient / "brainmask.nii.gz")
    truth = resample_labels(published, flair.grid, np.linalg.inv(to_flair)).data
    brain = deepbet.strip_skull(Session({}, {"flair": flair}, None), OPTIONS, 1)
    assert 2 * (brain & truth).sum() / (brain.sum() + truth.sum()) > 0.93
