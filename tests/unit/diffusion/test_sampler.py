"""The samplers against two oracles: an analytic Gaussian denoiser, and the schedulers of Hugging Face diffusers."""

import math
import warnings
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from msdiff.diffusion import noise, sampler
from msdiff.diffusion.variance import log_variance
from msdiff.errors import BadSettings
from msdiff.settings import Choice

SCHEDULE = noise.load_schedule("cosine", {"offset": 0.008, "logsnr_min": -20.0, "logsnr_max": 20.0})
PLAIN = {"spacing": "t", "clip": None}
OPTIONS = {"ancestral": PLAIN, "ddim": {**PLAIN, "eta": 0.0}, "dpm_solver_2m": PLAIN}
MEAN, DEVIATION = 0.3, 0.5


def gaussian(z: Tensor, logsnr: Tensor) -> Tensor:
    """E[x | z] where x ~ N(MEAN, DEVIATION^2) in every voxel."""
    alpha, sigma = (noise.expand(scale(logsnr), z) for scale in (noise.alpha, noise.sigma))
    return MEAN + alpha * DEVIATION**2 / (alpha**2 * DEVIATION**2 + sigma**2) * (z - alpha * MEAN)


def flow_end(z: Tensor) -> Tensor:
    """Where the probability-flow ODE takes z at t = 1: z = alpha MEAN + sqrt(alpha^2 DEVIATION^2 + sigma^2) xi stays at
    the same xi at every time."""
    logsnr = SCHEDULE(torch.ones(1, dtype=torch.float64))
    alpha, sigma = noise.alpha(logsnr), noise.sigma(logsnr)
    return MEAN + DEVIATION * (z - alpha * MEAN) / (alpha**2 * DEVIATION**2 + sigma**2).sqrt()


def made(name: str, steps: int, **options) -> sampler.Sampler:
    return sampler.load_sampler(Choice(backend=name, options={**OPTIONS[name], **options}), steps)


def sampled(name: str, steps: int, count: int = 64, size: int = 8, **options) -> tuple[Tensor, Tensor]:
    seeds = range(count)
    first = sampler.noise_like((1, size, size), seeds).double()
    return first, sampler.sample(gaussian, first, SCHEDULE, made(name, steps, **options), seeds)


def test_every_sampler_is_tried_here():
    assert set(OPTIONS) == set(sampler.SAMPLERS)


class TestGaussian:
    @pytest.mark.parametrize("spacing", ["t", "logsnr"])
    @pytest.mark.parametrize(
        ("name", "steps", "options"),
        [("ancestral", 1000, {}), ("ddim", 1000, {}), ("ddim", 1000, {"eta": 1.0}), ("dpm_solver_2m", 100, {})],
    )
    def test_samples_have_its_mean_and_deviation(self, name, steps, options, spacing):
        _, x = sampled(name, steps, spacing=spacing, **options)
        # 4096 values: standard errors 0.008 and 0.0055.
        assert abs(x.mean() - MEAN) < 0.03
        assert abs(x.std() - DEVIATION) < 0.02

    @pytest.mark.parametrize(("name", "order"), [("ddim", 1), ("dpm_solver_2m", 2)])
    def test_paths_follow_the_flow_with_the_order_of_the_solver(self, name, order):
        errors = []
        for steps in (80, 160, 320):
            first, x = sampled(name, steps, count=1, spacing="logsnr")
            errors.append((x - flow_end(first)).abs().max().item())
        orders = [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]
        assert orders == pytest.approx([order, order], abs=0.05)

    @pytest.mark.parametrize(("name", "limit"), [("ddim", 0.15), ("dpm_solver_2m", 0.01)])
    def test_twenty_steps_come_this_close_to_the_flow(self, name, limit):
        first, x = sampled(name, 20)
        assert (x - flow_end(first)).abs().max() < limit

    def test_ddim_with_full_noise_is_the_ancestral_sampler(self):
        torch.testing.assert_close(sampled("ddim", 25, eta=1.0)[1], sampled("ancestral", 25)[1])

    def test_one_step_is_the_estimate_from_noise(self):
        for name in OPTIONS:
            first, x = sampled(name, 1)
            torch.testing.assert_close(x, gaussian(first, SCHEDULE(torch.ones(len(first), dtype=torch.float64))))

    def test_clip_holds_every_estimate(self):
        for name in OPTIONS:
            x = sampled(name, 20, clip=[-0.1, 0.4])[1]
            assert x.min() >= -0.1
            assert x.max() <= 0.4

    def test_learned_variance_between_its_ends_changes_the_noise_only(self):
        def small(z, logsnr):
            return gaussian(z, logsnr), torch.zeros_like(z)

        def large(z, logsnr):
            return gaussian(z, logsnr), torch.ones_like(z)

        first = sampler.noise_like((1, 8, 8), range(64)).double()
        plain, at_small, at_large = (
            sampler.sample(denoise, first, SCHEDULE, made("ancestral", 50), range(64))
            for denoise in (gaussian, small, large)
        )
        torch.testing.assert_close(at_small, plain)
        assert at_large.std() > plain.std() * 1.02


class TestSeeds:
    @pytest.mark.parametrize("name", OPTIONS)
    @pytest.mark.parametrize("batch", [1, 2, 3, 8])
    def test_samples_do_not_depend_on_the_batch(self, name, batch):
        seeds = [5, 0, 2**40, 17, 3, 1, 99, 8]
        chosen_sampler = made(name, 7, **({"eta": 0.7} if name == "ddim" else {}))

        def take(chosen):
            first = sampler.noise_like((2, 5, 7), chosen)
            return sampler.sample(gaussian, first, SCHEDULE, chosen_sampler, chosen)

        pieces = torch.cat([take(seeds[start : start + batch]) for start in range(0, len(seeds), batch)])
        assert torch.equal(pieces, take(seeds))

    def test_streams_and_seeds_are_apart(self):
        rows = sampler.noise_like((1000,), [0, 1])
        steps = torch.tensor(sampler.generators([0], sampler.STEPS)[0].standard_normal(1000))
        correlation = np.corrcoef([*rows.numpy(), steps.numpy()])
        assert np.abs(correlation - np.eye(3)).max() < 0.12

    def test_noise_is_standard_normal_in_single_precision(self):
        rows = sampler.noise_like((1, 64, 64), range(8))
        assert rows.shape == (8, 1, 64, 64)
        assert rows.dtype == torch.float32
        assert abs(rows.mean()) < 0.02
        assert abs(rows.std() - 1) < 0.02

    def test_noise_is_the_same_for_ever(self):
        # A change here changes every sample ever made.
        assert sampler.noise_like((3,), [7])[0].tolist() == [1.5219693183898926, -1.1441057920455933, 1.150161623954773]

    def test_a_seed_is_needed_for_each_sample(self):
        with pytest.raises(ValueError, match="one seed for each of 2 samples, got 1"):
            sampler.sample(gaussian, torch.zeros(2, 1), SCHEDULE, made("ddim", 2), [0])


class TestLevels:
    def test_are_even_in_time_and_end_clean(self):
        levels = sampler.logsnr_levels(SCHEDULE, 4, "t")
        expected = SCHEDULE(torch.tensor([1, 0.75, 0.5, 0.25], dtype=torch.float64))
        assert levels.tolist() == [*expected.tolist(), math.inf]

    def test_are_even_in_logsnr(self):
        assert sampler.logsnr_levels(SCHEDULE, 4, "logsnr").tolist() == [-20, -10, 0, 10, math.inf]

    @pytest.mark.parametrize("steps", [0, -1])
    def test_need_a_step(self, steps):
        with pytest.raises(BadSettings, match=f"expected at least one step, got {steps}"):
            sampler.logsnr_levels(SCHEDULE, steps, "t")

    def test_must_differ(self):
        with pytest.raises(BadSettings, match="more than the schedule tells apart"):
            sampler.logsnr_levels(SCHEDULE, 100_000, "t")

    def test_denoiser_sees_the_batch_at_one_level_in_the_type_of_the_image(self):
        seen = []

        def watch(z, logsnr):
            seen.append(logsnr)
            return gaussian(z, logsnr)

        first = sampler.noise_like((1, 2, 2), range(3))
        x = sampler.sample(watch, first, SCHEDULE, made("dpm_solver_2m", 4), range(3))
        assert x.dtype == torch.float32
        assert not x.requires_grad
        assert [level.shape for level in seen] == [(3,)] * 4
        assert all(level.dtype == torch.float32 for level in seen)


class TestWatch:
    """Whoever watches gets every step and changes none."""

    @pytest.mark.parametrize("name", OPTIONS)
    def test_sees_every_step_and_last_the_result(self, name):
        options = {"clip": [-0.5, 0.5], **({"eta": 0.7} if name == "ddim" else {})}
        chosen, first = made(name, 6, **options), sampler.noise_like((2, 3), range(3))
        seen = []
        watched = sampler.sample(
            gaussian, first, SCHEDULE, chosen, range(3), lambda step, *tensors: seen.append((step, *tensors))
        )
        assert torch.equal(watched, sampler.sample(gaussian, first, SCHEDULE, chosen, range(3)))
        steps, levels, noisy, estimates = zip(*seen, strict=True)
        assert steps == tuple(range(6))
        assert torch.stack(levels).tolist() == sampler.logsnr_levels(SCHEDULE, 6, "t")[:-1].float().tolist()
        assert torch.equal(noisy[0], first)
        assert torch.equal(estimates[-1], watched)
        for level, z, x_hat in zip(levels, noisy, estimates, strict=True):
            assert torch.equal(x_hat, gaussian(z, level.repeat(3)).clamp(-0.5, 0.5))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("euler", {}, "expected one of ancestral, ddim, dpm_solver_2m, got 'euler'"),
        ("ddim", PLAIN, "missing key 'eta'"),
        ("ancestral", {**PLAIN, "spacing": "karras"}, "spacing"),
        ("dpm_solver_2m", {**PLAIN, "eta": 0.0}, "unknown key 'eta'"),
    ],
)
def test_unknown_sampler_or_option_is_refused(name, options, message):
    with pytest.raises(BadSettings, match=message):
        sampler.load_sampler(Choice(backend=name, options=options), 2)


TRAINED = 200  # steps of the discrete chain
LINEAR = {"beta_first": 1e-4, "beta_last": 0.1, "steps": TRAINED, "logsnr_min": -20.0, "logsnr_max": 20.0}


@pytest.fixture(scope="module")
def diffusers():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its imports
        library = pytest.importorskip("diffusers")
        # The library imports its parts when they are asked for.
        assert library.DDIMScheduler
        assert library.DDPMScheduler
        assert library.DPMSolverMultistepScheduler
        return library


class TestAgainstDiffusers:
    """The same chain, 20 of its 200 steps, the same estimates: the same path, step for step."""

    schedule = staticmethod(noise.load_schedule("linear_beta", LINEAR))

    def chain(self, **more):
        betas = np.linspace(1e-4, 0.1, TRAINED)
        return {
            "num_train_timesteps": TRAINED,
            "trained_betas": betas,
            "prediction_type": "sample",
            "timestep_spacing": "trailing",
            **more,
        }

    def run(self, scheduler, first: Tensor, **step) -> Tensor:
        scheduler.set_timesteps(20)
        z = first
        for t in scheduler.timesteps:
            logsnr = torch.logit(scheduler.alphas_cumprod[t].double()).expand(len(z))
            z = scheduler.step(gaussian(z, logsnr), t, z, **step).prev_sample
        return z

    def ours(self, name: str, first: Tensor, **options) -> Tensor:
        return sampler.sample(gaussian, first, self.schedule, made(name, 20, **options), range(len(first)))

    @pytest.mark.parametrize("clip", [None, [-1.0, 1.0]])
    def test_ddim(self, diffusers, clip):
        first = sampler.noise_like((1, 8, 8), range(4)).double()
        theirs = diffusers.DDIMScheduler(**self.chain(clip_sample=clip is not None, set_alpha_to_one=True))
        # Diffusers keeps the noise estimate of before the clip unless told otherwise.
        x = self.run(theirs, first, eta=0.0, use_clipped_model_output=True)
        torch.testing.assert_close(self.ours("ddim", first, clip=clip), x, rtol=1e-4, atol=1e-5)

    @pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # inside diffusers
    def test_dpm_solver_2m(self, diffusers):
        first = sampler.noise_like((1, 8, 8), range(4)).double()
        theirs = diffusers.DPMSolverMultistepScheduler(
            **self.chain(algorithm_type="dpmsolver++", solver_order=2, solver_type="midpoint", final_sigmas_type="zero")
        )
        torch.testing.assert_close(self.ours("dpm_solver_2m", first), self.run(theirs, first), rtol=1e-3, atol=1e-4)

    def test_ancestral(self, diffusers, monkeypatch):
        first = sampler.noise_like((1, 8, 8), range(4)).double()
        theirs = diffusers.DDPMScheduler(**self.chain(clip_sample=False, variance_type="fixed_small"))
        self.share_noise(monkeypatch)
        torch.testing.assert_close(self.ours("ancestral", first), self.run(theirs, first), rtol=1e-4, atol=1e-5)

    def test_range_of_the_learned_variance(self, diffusers):
        theirs = diffusers.DDPMScheduler(**self.chain(clip_sample=False, variance_type="learned_range"))
        theirs.set_timesteps(TRAINED)
        for t in (1, 50, 199):
            output = torch.tensor([-1.0, 0.2, 1.0], dtype=torch.float64)
            expected = theirs._get_variance(t, predicted_variance=output, variance_type="learned_range")
            step = noise.transition(*self.schedule(torch.tensor([t + 1, t], dtype=torch.float64) / TRAINED))
            log = log_variance((output + 1) / 2, step.log_small, step.log_large)
            torch.testing.assert_close(log, expected.double(), rtol=1e-4, atol=1e-4)

    def share_noise(self, monkeypatch):
        from diffusers.schedulers import scheduling_ddpm

        rngs = sampler.generators(range(4), sampler.STEPS)

        def shared(shape, **_):
            return torch.stack([torch.from_numpy(rng.standard_normal((1, 8, 8), dtype=np.float32)) for rng in rngs])

        monkeypatch.setattr(scheduling_ddpm, "randn_tensor", shared)
