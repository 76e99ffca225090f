"""From noise to an image, in a given number of steps.

A denoiser is a function from z (B, ...) and logsnr (B,) to an estimate x_hat (B, ...) of the clean image. Times
t_0 = 1 > t_1 > ... > t_K = 0 are taken at equal distances of t, or of logsnr; the last is clean (alpha 1, sigma 0), so
that the last step of every sampler returns x_hat. A step from t to s, where
lambda = logsnr / 2 and h = lambda_s - lambda_t:

    ancestral          z_s ~ N(of_z z + of_x x_hat, sigma_s^2 c), see noise.transition
                                                                        Kingma et al. 2021, appendix A
    ddim               z_s = alpha_s x_hat + sqrt(sigma_s^2 - n^2) eps_hat + n noise,  n^2 = eta^2 sigma_s^2 c
                                                                        Song et al., DDIM, 2021, equations 12 and 16
    dpm_solver_2m      z_s = sigma_s / sigma_t z - alpha_s (exp(-h) - 1) ((1 + 1 / 2r) x_hat - 1 / 2r x_hat before)
                       r = h before / h; the first and the last step without the second-order part
                                                                        Lu et al., DPM-Solver++, 2022, algorithm 2

Every sample has its own seed and its own random numbers, which are generated on the CPU: sample i does not depend on
the batch, the shard or the device.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from msdiff.diffusion.noise import Schedule, alpha, sigma, transition
from msdiff.diffusion.variance import log_variance
from msdiff.errors import BadSettings
from msdiff.settings import Choice, Entry, Settings, build

Denoiser = Callable[[Tensor, Tensor], Tensor | tuple[Tensor, Tensor]]
# Gets step, logsnr (a scalar on the device), z and x_hat (B, ...) of every step; it must not change them.
Watch = Callable[[int, Tensor, Tensor, Tensor], None]

START, STEPS = 0, 1  # streams of a sample's random numbers: its first noise, and that of the steps


class SamplerSettings(Settings):
    """How an image is sampled from noise: sections `synthesis.sampler` and `forecasting.sampler`.

    sampler             one of SAMPLERS and its options
    steps               evaluations of the network, twice as many with guidance
    guidance_weight     0 is the plain conditional model; others need a training with guidance dropout
    """

    sampler: Choice
    steps: PositiveInt
    guidance_weight: Annotated[float, Field(ge=0)]


class SamplerOptions(Settings):
    """Common to all samplers.

    spacing     steps at equal distances of t or of logsnr
    clip        range that x_hat is held to at every step, or null
    """

    spacing: Literal["t", "logsnr"]
    clip: tuple[float, float] | None


class AncestralSettings(SamplerOptions):
    """Nothing more to set; the variance is learned where the denoiser returns its fraction, else beta tilde."""


class DDIMSettings(SamplerOptions):
    """eta: 0 is deterministic, 1 has the noise of the ancestral sampler."""

    eta: Annotated[float, Field(ge=0, le=1)]


class DPMSolver2MSettings(SamplerOptions):
    """Nothing more to set."""


def generators(seeds: Sequence[int], stream: int = START) -> list[np.random.Generator]:
    """One generator for each sample, from its seed (at least 0) and the purpose of the numbers."""
    return [np.random.default_rng([seed, stream]) for seed in seeds]


def noise_like(shape: Sequence[int], seeds: Sequence[int]) -> Tensor:
    """First noise (B, *shape) of the samples with these seeds: standard normal, float32, on the CPU."""
    return _normal(shape, generators(seeds))


class Sampler(NamedTuple):
    """A way from noise to an image, in a number of steps.

    run         a function of this module, from estimator, noise, levels, the samples' generators and options to samples
    """

    run: "Callable[[Estimator, Tensor, Tensor, list[np.random.Generator], Any], Tensor]"
    options: SamplerOptions
    steps: int


def load_sampler(choice: Choice, steps: int) -> Sampler:
    """The chosen sampler; BadSettings if its name or an option is unknown, missing or out of range."""
    sampler: Sampler = build(SAMPLERS, choice.backend, choice.options, "sampler", steps)
    return sampler


def sample(
    denoise: Denoiser,
    noise: Tensor,
    schedule: Schedule,
    sampler: Sampler,
    seeds: Sequence[int],
    watch: Watch | None = None,
) -> Tensor:
    """Samples (B, ...) from noise (B, ...), on its device and in its type, without gradients.

    Parameters
    ----------
    denoise
        From z (B, ...) and logsnr (B,) to x_hat, or to (x_hat, fraction), both (B, ...): the fraction of the learned
        variance, see variance.variance_fraction; only the ancestral sampler uses it.
    noise
        Standard normal; `noise_like(shape, seeds)`, moved to the device.
    seeds
        (B,) whole numbers, for the noise of the steps if the sampler has any.
    watch
        Is called at every step with its number from 0, logsnr, z and the estimate x_hat; the last estimate is the
        result.

    Raises BadSettings if the schedule does not tell so many steps apart.
    """
    if len(seeds) != len(noise):
        raise ValueError(f"expected one seed for each of {len(noise)} samples, got {len(seeds)}")
    options = sampler.options
    levels = logsnr_levels(schedule, sampler.steps, options.spacing)
    with torch.no_grad():
        estimate = Estimator(denoise, options.clip, levels.to(noise), watch)
        return sampler.run(estimate, noise, levels, generators(seeds, STEPS), options)


def logsnr_levels(schedule: Schedule, steps: int, spacing: str) -> Tensor:
    """The steps' logsnr (steps + 1,), rising in double precision from noise to +infinity, which is clean."""
    if steps < 1:
        raise BadSettings(f"sampler: expected at least one step, got {steps}")
    if spacing == "t":
        levels = schedule(torch.linspace(1, 0, steps + 1, dtype=torch.float64))
    else:
        noise, clean = schedule(torch.tensor([1, 0], dtype=torch.float64)).tolist()
        levels = torch.linspace(noise, clean, steps + 1, dtype=torch.float64)
    levels[-1] = math.inf
    if not bool((levels.diff() > 0).all()):
        raise BadSettings(f"sampler: {steps} steps are more than the schedule tells apart; take fewer")
    return levels


class Estimator(NamedTuple):
    """The denoiser at a step's logsnr for the whole batch, with its estimate held to the range.

    The levels lie on the device before the first step, and all other numbers of a step are plain ones: an accelerator
    never waits for the processor, nor the processor for it.
    """

    denoise: Denoiser
    clip: tuple[float, float] | None
    levels: Tensor
    watch: Watch | None

    def __call__(self, z: Tensor, step: int) -> tuple[Tensor, Tensor | None]:
        """x_hat and, if the variance is learned, its fraction, each of the shape of z (B, ...), at the step's level."""
        output = self.denoise(z, self.levels[step].repeat(len(z)))
        x_hat, fraction = output if isinstance(output, tuple) else (output, None)
        x_hat = x_hat if self.clip is None else x_hat.clamp(*self.clip)
        if self.watch is not None:
            self.watch(step, self.levels[step], z, x_hat)
        return x_hat, fraction


def ancestral(
    estimate: Estimator, z: Tensor, levels: Tensor, rngs: list[np.random.Generator], options: AncestralSettings
) -> Tensor:
    """Sample each step's z from q(z_s | z_t, x_hat). Kingma et al. 2021, appendix A."""
    for step, (logsnr_t, logsnr_s) in enumerate(pairwise(levels[:-1])):
        x_hat, fraction = estimate(z, step)
        back = transition(logsnr_t, logsnr_s)
        mean = back.of_z.item() * z + back.of_x.item() * x_hat
        noise = _normal_on(z, rngs)
        if fraction is None:
            z = mean + torch.exp(0.5 * back.log_small).item() * noise
        else:
            z = mean + torch.exp(0.5 * log_variance(fraction, back.log_small, back.log_large)) * noise
    return estimate(z, len(levels) - 2)[0]


def ddim(
    estimate: Estimator, z: Tensor, levels: Tensor, rngs: list[np.random.Generator], options: DDIMSettings
) -> Tensor:
    """Go along the estimated noise, with `eta` of the ancestral noise. Song et al. 2021, equations 12 and 16."""
    for step, (logsnr_t, logsnr_s) in enumerate(pairwise(levels[:-1])):
        x_hat, _ = estimate(z, step)
        eps_hat = (z - alpha(logsnr_t).item() * x_hat) / sigma(logsnr_t).item()
        noise_variance = options.eta**2 * transition(logsnr_t, logsnr_s).log_small.exp()
        # Rounding can take the difference just below zero.
        direction = (torch.sigmoid(-logsnr_s) - noise_variance).clamp(min=0).sqrt()
        z = alpha(logsnr_s).item() * x_hat + direction.item() * eps_hat
        if options.eta > 0:
            z = z + noise_variance.sqrt().item() * _normal_on(z, rngs)
    return estimate(z, len(levels) - 2)[0]


def dpm_solver_2m(
    estimate: Estimator, z: Tensor, levels: Tensor, rngs: list[np.random.Generator], options: DPMSolver2MSettings
) -> Tensor:
    """Extrapolate from the estimate of this step and the one before. Lu et al. 2022, algorithm 2."""
    before: Tensor | None = None
    h_before = torch.zeros((), dtype=torch.float64)
    for step, (logsnr_t, logsnr_s) in enumerate(pairwise(levels[:-1])):
        x_hat, _ = estimate(z, step)
        h = (logsnr_s - logsnr_t) / 2
        better = x_hat if before is None else x_hat + (h / (2 * h_before)).item() * (x_hat - before)
        z = (sigma(logsnr_s) / sigma(logsnr_t)).item() * z - (alpha(logsnr_s) * torch.expm1(-h)).item() * better
        before, h_before = x_hat, h
    return estimate(z, len(levels) - 2)[0]


SAMPLERS: Mapping[str, Entry] = {
    "ancestral": Entry(AncestralSettings, partial(Sampler, ancestral)),
    "ddim": Entry(DDIMSettings, partial(Sampler, ddim)),
    "dpm_solver_2m": Entry(DPMSolver2MSettings, partial(Sampler, dpm_solver_2m)),
}


def _normal(shape: Sequence[int], rngs: Sequence[np.random.Generator]) -> Tensor:
    """Standard normal noise (B, *shape), float32, one generator for each sample.

    NumPy's generators, unlike torch's, give the same numbers on every processor.
    """
    return torch.stack([torch.from_numpy(rng.standard_normal(tuple(shape), dtype=np.float32)) for rng in rngs])


def _normal_on(like: Tensor, rngs: Sequence[np.random.Generator]) -> Tensor:
    """Standard normal noise of the shape, the type and on the device of a tensor (B, ...)."""
    return moved(_normal(like.shape[1:], rngs), like.device).to(like.dtype)


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU on a device; the copy to an accelerator is ordered and not waited for."""
    return tensor if device.type == "cpu" else tensor.pin_memory().to(device, non_blocking=True)
