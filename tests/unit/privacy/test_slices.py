import numpy as np
import pytest

from msdiff.privacy.slices import AveragedSlices, averaged, correlations, paired_correlations


@pytest.fixture
def slices():
    """Noise of which each slice has another outline: one half, most, all, and one without brain."""
    images = np.random.default_rng(0).normal(size=(6, 16, 16)) + 3
    brains = np.ones_like(images)
    brains[0, :8] = 0
    brains[1, :, 13:] = 0
    brains[2, 12:] = 0
    brains[5] = 0
    return images, brains


def test_all_pairs_agree_with_numpy_on_the_shared_brain(slices):
    images, brains = slices
    found = correlations(averaged(images, brains, 16), averaged(images, brains, 16), 0.5).numpy()
    for i in range(6):
        for j in range(6):
            both = (brains[i] > 0) & (brains[j] > 0)
            enough = both.sum() >= 0.5 * max(brains[i].sum(), brains[j].sum(), 1)
            expected = np.corrcoef(images[i][both], images[j][both])[0, 1] if enough else -1
            assert found[i, j] == pytest.approx(expected, abs=1e-5)


def test_pairs_at_their_places_are_the_diagonal(monkeypatch, slices):
    one, other = averaged(*slices, 16), averaged(slices[0][::-1], slices[1][::-1], 16)
    monkeypatch.setattr("msdiff.privacy.slices.PAIRED", 4)
    whole = correlations(one, other, 0.5).diagonal()
    np.testing.assert_allclose(paired_correlations(one, other, 0.5), whole, atol=1e-6)
    assert len(paired_correlations(one.at(slice(0, 0)), other.at(slice(0, 0)), 0.5)) == 0


def test_averages_are_of_the_brain_in_areas():
    images = np.random.default_rng(0).normal(size=(1, 64, 64))
    brains = np.zeros_like(images)
    brains[:, :30] = 1
    pixels, inside = averaged(images, brains, 16)
    # Of the eighth row of areas half is brain.
    np.testing.assert_array_equal(inside.reshape(16, 16)[:, 0], [1] * 8 + [0] * 8)
    rows = [images[0, 4 * k : min(4 * k + 4, 30)].reshape(-1, 16, 4).mean(axis=(0, 2)) for k in range(8)]
    expected = np.concatenate(rows)
    np.testing.assert_allclose(pixels[0, :128], (expected - expected.mean()) / expected.std(), atol=1e-4)
    assert not pixels[0, 128:].any()


def test_gain_offset_outline_and_what_lies_outside_change_nothing(slices):
    images, _ = slices
    brain, smaller = np.zeros((6, 16, 16)), np.zeros((6, 16, 16))
    brain[:, 2:14, 2:14] = 1
    smaller[:, 3:14, 2:12] = 1
    noise = np.random.default_rng(1).normal(size=images.shape)
    changed = averaged(np.where(smaller > 0, 0.7 * images + 0.2, noise), smaller, 16)
    np.testing.assert_allclose(paired_correlations(averaged(images, brain, 16), changed, 0.5), 1, atol=1e-5)


def test_without_contrast_a_slice_is_like_nothing():
    flat = averaged(np.ones((1, 16, 16)), np.ones((1, 16, 16)), 16)
    noise = averaged(np.random.default_rng(0).normal(size=(1, 16, 16)), np.ones((1, 16, 16)), 16)
    assert abs(float(correlations(flat, noise, 0.5))) < 1e-3


def test_some_of_the_slices_and_pixels():
    taken = AveragedSlices(np.arange(12.0).reshape(3, 4), np.ones((3, 4))).at(slice(1, 3), [True, False, False, True])
    np.testing.assert_array_equal(taken.pixels, [[4, 7], [8, 11]])
    assert taken.inside.shape == (2, 2)
