"""Masks of the sheet, and images that come without skull."""

import os
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from msdiff.errors import BadInput
from msdiff.images import Volume, axis_aligned_grid, load_image, load_mask
from msdiff.preprocess.known_brains import given, stripped
from msdiff.preprocess.skull_stripping import Session
from msdiff.spaces import resample, resample_labels
from msdiff.template import load_template, template_brain

GRID = axis_aligned_grid((56, 64, 30), (4.0, 4.0, 6.0), (0.0, -18.0, 8.0))
OPTIONS = {"threshold": 0.2, "closing_mm": 5.0}
BRAIN = template_brain(GRID)
SHARED = os.environ.get("MSDIFF_SHARED")
REAL = Path(SHARED or "") / "data"


def session(brain=None, **images):
    volumes = {name: Volume(np.asarray(data, np.float32), GRID.affine) for name, data in images.items()}
    return Session(volumes, volumes, brain)


def assert_brain(found):
    """The template's brain, but for some voxels in its sulci that are joined to it."""
    assert not (BRAIN & ~found).any()
    assert (found & ~BRAIN).sum() < 0.01 * BRAIN.sum()


@pytest.fixture(scope="module")
def image():
    """The template's brain in nothing, of positive values."""
    return np.where(BRAIN, 100 + 400 * load_template("t1", GRID).data, 0)


def test_given_mask_is_taken_as_it_is(image):
    mask = np.zeros(GRID.shape, dtype=bool)
    mask[3:5, 2, 7:9] = True
    np.testing.assert_array_equal(given(session(mask, flair=image), {}, 1), mask)


def test_empty_cell_is_told(image):
    with pytest.raises(BadInput, match="the sheet's column brain_mask is empty; fill it, or choose another backend"):
        given(session(flair=image), {}, 1)


@pytest.mark.parametrize("background", [0.0, -1.0, 20.0])
def test_brain_is_what_is_not_background(image, background):
    data = np.where(BRAIN, image, background)
    assert_brain(stripped(session(flair=data), OPTIONS, 1))


def test_overshoot_of_splines_is_background(image):
    """Around the brain stand values of either sign, small beside the brain's; beyond the image lies its minimum."""
    rim = ndimage.binary_dilation(BRAIN, iterations=2) & ~BRAIN
    ripple = np.random.default_rng(0).uniform(-15, 15, GRID.shape)
    data = np.where(rim, ripple, image)
    data[:3] = data.min()
    assert_brain(stripped(session(flair=data), OPTIONS, 1))


def test_dark_fluid_inside_is_brain(image):
    hollow = ndimage.binary_erosion(BRAIN, iterations=5)
    assert_brain(stripped(session(flair=np.where(hollow, 0, image)), OPTIONS, 1))


def test_fluid_as_dark_as_the_background_is_brain(image):
    """A fissure that reaches the surface, 8 mm wide, and its brain around it."""
    data = image.copy()
    data[27:29, 40:, :] = 0
    cut = (data == 0) & BRAIN
    whole = stripped(session(flair=data), OPTIONS, 1)
    assert (whole & cut).sum() > 0.9 * cut.sum()
    assert not (stripped(session(flair=data), OPTIONS | {"closing_mm": 0.0}, 1) & cut).any()


def test_what_one_contrast_kept_too_much_is_left_out(image):
    eye = np.zeros(GRID.shape, dtype=bool)
    eye[16:20, 55:60, 8:11] = True
    bright = np.where(eye, 800, image)
    assert (eye & ~BRAIN).any()
    assert_brain(stripped(session(flair=image, t1w=bright), OPTIONS, 1))


def test_specks_are_left_out(image):
    data = image.copy()
    data[1, 1, 1] = 300
    assert_brain(stripped(session(flair=data), OPTIONS, 1))


@pytest.mark.skipif(SHARED is None, reason="MSDIFF_SHARED does not point at the real scans")
def test_real_scans_whose_t1w_kept_eyes_and_skin():
    """MSLesSeg P14 T2: the T1w shows 2.6 l, FLAIR and T2w 2.0; no lesion is lost."""
    folder = REAL / "mslesseg/train/P14/T2"
    files = {"flair": "FLAIR", "t1w": "T1", "t2w": "T2"}
    images = {
        name: resample(load_image(folder / f"P14_T2_{file}.nii.gz"), GRID, np.eye(4)) for name, file in files.items()
    }
    brain = stripped(Session(images, {}, None), OPTIONS, 1)
    litres = GRID.voxel_volume_mm3 / 1e6
    assert 1.85 < brain.sum() * litres < 2.1
    assert stripped(Session({"t1w": images["t1w"]}, {}, None), OPTIONS, 1).sum() * litres > 2.5
    lesions = resample_labels(load_mask(folder / "P14_T2_MASK.nii.gz"), GRID, np.eye(4)).data
    assert lesions.sum() > 100
    assert not (lesions & ~brain).any()


@pytest.mark.skipif(SHARED is None, reason="MSDIFF_SHARED does not point at the real scans")
def test_real_scans_with_values_below_their_background():
    """Patient 07 of the cross-sectional open_ms data: splines left -20 to -62 around a background of 0."""
    folder = REAL / "open_ms_data/cross_sectional/MNI/patient07"
    for name in ("FLAIR", "T1", "T2"):
        image = load_image(next(folder.glob(f"{name}_*")))
        assert image.data.min() < -10
        truth = resample_labels(Volume(image.data != 0, image.affine), GRID, np.eye(4)).data
        brain = stripped(Session({name: resample(image, GRID, np.eye(4))}, {}, None), OPTIONS, 1)
        assert 2 * (brain & truth).sum() / (brain.sum() + truth.sum()) > 0.94, name
