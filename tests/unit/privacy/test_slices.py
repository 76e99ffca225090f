import numpy as np
import pytest

from msdiff.privacy.slices import compared


def test_without_averaging_the_product_is_the_correlation():
    rng = np.random.default_rng(0)
    images = rng.normal(size=(2, 16, 16))
    first, second = compared(images, np.ones_like(images), 16)
    assert first @ second == pytest.approx(np.corrcoef(images[0].ravel(), images[1].ravel())[0, 1], abs=1e-6)


def test_averages_are_of_areas_and_have_length_one():
    images = np.random.default_rng(0).normal(size=(1, 64, 64))
    (vector,) = compared(images, np.ones_like(images), 16)
    blocks = images.reshape(16, 4, 16, 4).mean(axis=(1, 3)) - images.mean()
    np.testing.assert_allclose(vector, (blocks / np.linalg.norm(blocks)).ravel(), atol=1e-5)


def test_gain_offset_and_what_lies_outside_change_nothing():
    rng = np.random.default_rng(0)
    image, brain = rng.normal(size=(1, 32, 32)), np.zeros((1, 32, 32))
    brain[:, 4:28, 6:26] = 1
    changed = np.where(brain > 0, 0.7 * image + 0.2, rng.normal(size=image.shape))
    np.testing.assert_allclose(compared(image, brain, 16), compared(changed, brain, 16), atol=1e-5)


def test_without_brain_a_slice_is_like_nothing():
    assert not compared(np.ones((1, 16, 16)), np.zeros((1, 16, 16)), 16).any()
