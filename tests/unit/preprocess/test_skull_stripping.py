import numpy as np
import pytest

from msdiff.errors import BadInput, BadSettings
from msdiff.images import Volume, axis_aligned_grid
from msdiff.patients import preferred_contrast
from msdiff.preprocess.skull_stripping import Session, check_brain, majority, strip_skull
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
    options = {"threshold": 0.5, "opening_mm": 0.0, "margin_mm": 0.0, "min_brain_ml": 500.0}
    with pytest.raises(BadSettings, match="missing key 'max_brain_ml'"):
        strip_skull({"ses-1": session(None)}, Choice(backend="plain", options=options), 1, "sub-07")


def session(brain):
    image = Volume(np.ones(GRID.shape, np.float32), GRID.affine)
    return Session({"t1w": image}, {"t1w": image}, brain)


def test_one_mask_from_all_sessions():
    """Of three sessions' masks the voxels that two hold."""
    masks = np.random.default_rng(0).random((3, *GRID.shape)) < 0.8
    sessions = {f"ses-{k}": session(mask) for k, mask in enumerate(masks)}
    given = Choice(backend="given", options={"min_brain_ml": 1.0, "max_brain_ml": 2000.0})
    brain = strip_skull(sessions, given, 1, "sub-07")
    np.testing.assert_array_equal(brain.data, masks.sum(axis=0) >= 2)
    np.testing.assert_array_equal(brain.affine, GRID.affine)


def test_session_without_a_brain_is_named():
    sessions = {"ses-1": session(np.ones(GRID.shape, dtype=bool)), "ses-2": session(None)}
    given = Choice(backend="given", options={"min_brain_ml": 1.0, "max_brain_ml": 2000.0})
    with pytest.raises(BadInput, match="sub-07: ses-2: expected a brain mask"):
        strip_skull(sessions, given, 1, "sub-07")
