import math

import numpy as np
import pytest
import torch
from monai.metrics.regression import MultiScaleSSIMMetric, compute_ssim_and_cs
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

from msdiff.metrics import image


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    """Two similar slices (Y, X) in [-1, 1]."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:96, :80] / 20
    real = np.sin(x) * np.cos(y)
    return np.clip(real + rng.normal(0, 0.1, real.shape), -1, 1), real


WHOLE = np.ones((96, 80), dtype=bool)


def test_errors_of_a_hand_made_case():
    real, generated = np.full((2, 2), -1.0), np.array([[-1.0, 0.0], [1.0, 1.0]])
    left = np.array([[1, 0], [1, 0]], dtype=bool)
    assert image.mae(generated, real, left) == 0.5
    assert image.mse(generated, real, left) == 0.5
    assert image.mse(generated, real, ~left) == (0.25 + 1) / 2
    assert image.psnr(generated, real, left) == pytest.approx(10 * math.log10(2))
    assert image.psnr(real, real, left) == math.inf


def test_errors_agree_with_scikit_image(pair):
    generated, real = ((side + 1) / 2 for side in pair)
    assert image.mse(*pair, WHOLE) == pytest.approx(mean_squared_error(generated, real))
    assert image.psnr(*pair, WHOLE) == pytest.approx(peak_signal_noise_ratio(real, generated, data_range=1))


def test_ssim_agrees_with_scikit_image(pair):
    generated, real = ((side + 1) / 2 for side in pair)
    _, expected = structural_similarity(
        generated, real, data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )
    np.testing.assert_allclose(image.similarity_maps(generated, real).ssim, expected, atol=1e-6)
    region = np.zeros_like(WHOLE)
    region[20:30, 5:60] = True
    assert image.ssim(*pair, region) == pytest.approx(expected[region].mean(), abs=1e-6)


def test_maps_agree_with_monai_inside(pair):
    """MONAI computes in single precision and leaves the border out."""
    x, y = (torch.tensor((side + 1) / 2)[None, None] for side in pair)
    ssim, contrast_structure = compute_ssim_and_cs(x, y, 2, (11, 11), (1.5, 1.5))
    maps = image.similarity_maps(x[0, 0].numpy(), y[0, 0].numpy())
    np.testing.assert_allclose(maps.ssim[5:-5, 5:-5], ssim[0, 0], atol=1e-3)
    np.testing.assert_allclose(maps.contrast_structure[5:-5, 5:-5], contrast_structure[0, 0], atol=1e-3)


def test_ms_ssim_is_close_to_monai(pair):
    """MONAI leaves out the border that we reflect, so the two differ by what the border adds."""
    x, y = (torch.tensor((side + 1) / 2)[None, None] for side in pair)
    weights = np.array(image.SCALE_WEIGHTS[:3]) / sum(image.SCALE_WEIGHTS[:3])
    expected = MultiScaleSSIMMetric(spatial_dims=2, data_range=1.0, weights=tuple(weights))(x, y)
    assert image.ms_ssim(*pair, WHOLE) == pytest.approx(float(expected), abs=0.02)
    assert image.ms_ssim(pair[1], pair[1], WHOLE) == pytest.approx(1)


def test_small_images_have_three_scales():
    assert [image.n_scales(shape) for shape in ((64, 64), (160, 256), (161, 256), (24, 256, 256))] == [3, 3, 5, 3]
    small = np.zeros((40, 64))
    assert math.isnan(image.ms_ssim(small, small, small == 0))


def test_a_region_that_the_coarse_scales_leave_out_has_no_ms_ssim():
    image_45 = np.random.default_rng(2).uniform(-1, 1, (45, 45))
    region = np.zeros((45, 45), dtype=bool)
    region[:, 44] = True
    assert math.isnan(image.ms_ssim(image_45, image_45, region))
    region[:, 43] = True
    assert image.ms_ssim(image_45, image_45, region) == pytest.approx(1)


def test_likeness_falls_with_noise(pair):
    generated, real = pair
    worse = np.clip(real + 3 * (generated - real), -1, 1)
    for metric in (image.psnr, image.ssim, image.ms_ssim):
        assert metric(worse, real, WHOLE) < metric(generated, real, WHOLE)


@pytest.mark.parametrize("metric", [image.mse, image.mae, image.psnr, image.ssim, image.ms_ssim])
def test_an_empty_region_has_no_likeness(metric, pair):
    assert math.isnan(metric(*pair, ~WHOLE))


def test_a_volume_is_compared_like_a_slice():
    rng = np.random.default_rng(1)
    volume = rng.uniform(-1, 1, (48, 48, 48))
    assert image.ms_ssim(volume, volume, volume > 0) == pytest.approx(1)


def test_the_ring_is_measured_in_the_units_of_the_spacing():
    lesion, brain = np.zeros((7, 9), dtype=bool), np.ones((7, 9), dtype=bool)
    lesion[3, 4] = True
    brain[0] = False
    one = image.ring(lesion, brain, 2.0, (2.0, 1.0))
    np.testing.assert_array_equal(np.argwhere(one), [[2, 4], [3, 2], [3, 3], [3, 5], [3, 6], [4, 4]])
    assert not image.ring(~brain & lesion, brain, 2.0, (1, 1)).any()


def test_regions_divide_the_brain():
    lesion, brain = np.zeros((7, 9), dtype=bool), np.ones((7, 9), dtype=bool)
    lesion[:2, 4] = True
    brain[0] = False
    parts = image.regions(brain, lesion, 1, (1, 1))
    assert parts["lesion"].sum() == 1
    np.testing.assert_array_equal(parts["outside"] | parts["lesion"], brain)
    assert not (parts["ring"] & (parts["lesion"] | ~brain)).any()


def test_contrast_of_a_lesion_half_as_bright():
    lesion = np.zeros((9, 9), dtype=bool)
    lesion[4, 4] = True
    surround = image.ring(lesion, np.ones_like(lesion), 2, (1, 1))
    real, generated = np.where(lesion, 0.8, 0.0), np.where(lesion, 0.4, 0.0)
    assert image.lesion_contrast(real, lesion, surround) == pytest.approx(0.4)
    assert image.lesion_contrast(generated, lesion, surround) == pytest.approx(0.2)
    assert math.isnan(image.lesion_contrast(real, ~lesion & lesion, surround))
