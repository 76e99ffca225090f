import numpy as np
import pytest

from msdiff.errors import BadInput, BadSettings
from msdiff.images import Volume, axis_aligned_grid
from msdiff.preprocess.skull_stripping import check_brain, majority, preferred_contrast, strip_skull
from msdiff.settings import Choice

GRID = axis_aligned_grid((10, 10, 10), (10.0, 10.0, 10.0), (0.0, 0.0, 0.0))


def test_half_of_the_masks_are_enough():
    masks = [np.array([True, True, False]), np.array([True, False, False])]
    assert majority(masks).tolist() == [True, True, False]
    assert majority([*masks, np.array([False, False, True])]).tolist() == [True, False, False]


def test_t1w_is_preferred():
    assert preferred_contrast(["flair", "t2w", "t1w"]) == "t1w"
    assert preferred_contrast(["t2w", "flair"]) == "flair"
    assert preferred_contrast(["t2w"]) == "t2w"


@pytest.mark.parametrize("voxels", [0, 499, 2501])
def test_absurd_brains_are_refused(voxels):
    grid = axis_aligned_grid((20, 20, 20), (10.0, 10.0, 10.0), (0.0, 0.0, 0.0))
    brain = np.zeros(8000, dtype=bool)
    brain[:voxels] = True
    with pytest.raises(BadInput, match=f"sub-07: expected a brain of 500 to 2500 ml, found {voxels} ml"):
        check_brain(brain.reshape(20, 20, 20), grid, 500, 2500, "sub-07")


def test_limits_belong_to_the_options():
    image = Volume(np.ones(GRID.shape, np.float32), GRID.affine)
    options = {"threshold": 0.5, "opening_mm": 0.0, "margin_mm": 0.0, "min_brain_ml": 500.0}
    with pytest.raises(BadSettings, match="missing key 'max_brain_ml'"):
        strip_skull([{"t1w": image}], Choice(backend="plain", options=options), "sub-07")
