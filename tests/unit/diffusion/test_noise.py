import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from msdiff.diffusion import noise
from msdiff.errors import BadSettings

LIMITS = {"logsnr_min": -15.0, "logsnr_max": 15.0}
OPTIONS = {
    "cosine": {"offset": 0.008, "logsnr_min": -20.0, "logsnr_max": 20.0},
    "linear_beta": {"beta_first": 1e-4, "beta_last": 0.02, "steps": 1000, "logsnr_min": -20.0, "logsnr_max": 20.0},
    "shifted_cosine": {"noise_d": 64.0, "image_d": 256.0, **LIMITS},
    "interpolated_cosine": {"noise_d_low": 32.0, "noise_d_high": 256.0, "image_d": 256.0, **LIMITS},
}
times = st.floats(0, 1, width=32)
logsnrs = st.floats(-20, 20, width=32)


def test_every_schedule_is_tried_here():
    assert set(OPTIONS) == set(noise.SCHEDULES)


@pytest.mark.parametrize("name", OPTIONS)
class TestEverySchedule:
    def test_falls_from_clean_to_noise(self, name):
        values = noise.load_schedule(name, OPTIONS[name])(torch.linspace(0, 1, 1001, dtype=torch.float64))
        assert torch.isfinite(values).all()
        assert (values.diff() < 0).all()
        assert values[0] > 8
        assert values[-1] < -8

    @given(early=times, late=times)
    def test_never_rises(self, name, early, late):
        schedule = noise.load_schedule(name, OPTIONS[name])
        first, second = schedule(torch.tensor(sorted([early, late])))
        assert first >= second

    def test_stays_within_its_limits_and_keeps_the_type(self, name):
        values = noise.load_schedule(name, OPTIONS[name])(torch.tensor([0.0, 1.0]))
        assert values.dtype == torch.float32
        assert values.min() >= OPTIONS[name]["logsnr_min"]
        assert values.max() <= OPTIONS[name]["logsnr_max"]

    def test_refuses_an_unknown_option(self, name):
        with pytest.raises(BadSettings, match=f"schedule {name}: unknown key 'ofset'"):
            noise.load_schedule(name, {**OPTIONS[name], "ofset": 1})

    def test_refuses_limits_on_the_wrong_side(self, name):
        with pytest.raises(BadSettings, match="logsnr_min"):
            noise.load_schedule(name, {**OPTIONS[name], "logsnr_min": 1.0})


def test_unknown_schedule_lists_the_known():
    with pytest.raises(BadSettings, match=r"expected one of cosine, linear_beta, .*, got 'cosin'"):
        noise.load_schedule("cosin", {})


def test_cosine_is_the_published_table():
    # Nichol and Dhariwal 2021, equation 17, computed as they do; the limits rule only beyond +-20.
    def f(t):
        return math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2

    t = torch.arange(1, 1000, dtype=torch.float64) / 1000
    expected = torch.tensor([f(float(value)) / f(0) for value in t], dtype=torch.float64)
    torch.testing.assert_close(
        torch.sigmoid(noise.load_schedule("cosine", OPTIONS["cosine"])(t)), expected, rtol=1e-9, atol=0
    )


def test_cosine_without_offset_is_that_of_variational_diffusion():
    t = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
    values = noise.load_schedule("cosine", {**OPTIONS["cosine"], "offset": 0.0})(t)
    torch.testing.assert_close(values, -2 * torch.log(torch.tan(math.pi / 2 * t)))


def test_linear_beta_is_exact_on_the_steps_of_the_chain():
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    t = torch.arange(1, 1001, dtype=torch.float64) / 1000
    values = noise.load_schedule("linear_beta", OPTIONS["linear_beta"])(t)
    torch.testing.assert_close(torch.sigmoid(values), (1 - betas).cumprod(0), rtol=1e-9, atol=0)


def test_shift_is_a_constant_between_the_limits():
    t = torch.linspace(0.1, 0.9, 9, dtype=torch.float64)
    plain = noise.load_schedule("shifted_cosine", {"noise_d": 256.0, "image_d": 256.0, **LIMITS})(t)
    shifted = noise.load_schedule("shifted_cosine", OPTIONS["shifted_cosine"])(t)
    torch.testing.assert_close(shifted - plain, torch.full_like(t, 2 * math.log(64 / 256)), atol=0.05, rtol=0)


def test_interpolation_ends_at_high_for_clean_and_at_low_for_noise():
    t = torch.tensor([0, 0.25, 0.75, 1], dtype=torch.float64)
    between = noise.load_schedule("interpolated_cosine", OPTIONS["interpolated_cosine"])(t)
    low = noise.load_schedule("shifted_cosine", {"noise_d": 32.0, "image_d": 256.0, **LIMITS})(t)
    high = noise.load_schedule("shifted_cosine", {"noise_d": 256.0, "image_d": 256.0, **LIMITS})(t)
    assert between[0] == high[0]
    assert between[-1] == low[-1]
    assert (low[1:-1] < high[1:-1]).all()  # low: more noise
    assert abs(between[1] - high[1]) < abs(between[1] - low[1])
    assert abs(between[2] - low[2]) < abs(between[2] - high[2])


def test_interpolation_refuses_ends_the_wrong_way_round():
    with pytest.raises(BadSettings, match="noise_d_low must not exceed noise_d_high"):
        noise.load_schedule("interpolated_cosine", {**OPTIONS["interpolated_cosine"], "noise_d_low": 512.0})


@given(logsnrs)
def test_alpha_and_sigma_keep_the_variance(value):
    logsnr = torch.tensor([value])
    torch.testing.assert_close(noise.alpha(logsnr) ** 2 + noise.sigma(logsnr) ** 2, torch.ones(1))
    ratio = noise.alpha(logsnr.double()) ** 2 / noise.sigma(logsnr.double()) ** 2
    torch.testing.assert_close(ratio.log(), logsnr.double())


def test_add_noise_keeps_the_type_and_mixes_sample_by_sample():
    x, eps = torch.ones(2, 1, 3, 4), torch.full((2, 1, 3, 4), 2.0)
    z = noise.add_noise(x, eps, torch.tensor([math.inf, -math.inf], dtype=torch.float64))
    assert z.dtype == torch.float32
    torch.testing.assert_close(z, torch.cat([x[:1], eps[1:]]))


def test_transition_is_the_discrete_posterior_of_ddpm():
    # Ho et al. 2020, equations 6 and 7, from betas.
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    alpha2 = (1 - betas).cumprod(0)
    i = torch.tensor([1, 10, 500, 999])
    before = alpha2[i - 1]
    step = noise.transition(torch.logit(alpha2[i]), torch.logit(before))
    torch.testing.assert_close(step.log_large.exp(), betas[i])
    torch.testing.assert_close(step.log_small.exp(), betas[i] * (1 - before) / (1 - alpha2[i]))
    torch.testing.assert_close(step.of_x, before.sqrt() * betas[i] / (1 - alpha2[i]))
    torch.testing.assert_close(step.of_z, (1 - betas[i]).sqrt() * (1 - before) / (1 - alpha2[i]))


def test_transition_to_a_clean_image_takes_the_estimate_alone():
    step = noise.transition(torch.tensor([0.0]), torch.tensor([math.inf]))
    assert (step.of_z, step.of_x, step.log_small) == (0, 1, -math.inf)
    torch.testing.assert_close(step.log_large, torch.tensor([0.5]).log())
