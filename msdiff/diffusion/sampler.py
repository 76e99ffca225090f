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

Every sample has its own seed and its own random numbers, which are drawn on the CPU: sample i does not depend on the
batch, the shard or the device it is drawn on.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from msdiff.diffusion.noise import Schedule, alpha, sigma, transition
from msdiff.diffusion.objective import log_variance
from msdiff.errors import BadSettings
from msdiff.settings import Settings, check

Denoiser = Callable[[Tensor, Tensor], Tensor | tuple[Tensor, Tensor]]

START, STEPS = 0, 1  # streams of a sample's random numbers: its first noise, and that of the steps


class SamplerSettings(Settings):
    """Common to all samplers.

    spacing     steps at equal distances of t or of logsnr
    clip        range that x_hat is held to at every step, or null
    """

    spacing: Literal["t", "logsnr"]
    clip: tuple[float, float] | None


class AncestralSettings(SamplerSettings):
    """Nothing more to set; the variance is learned where the denoiser returns its fraction, else beta tilde."""


class DDIMSettings(SamplerSettings):
    """eta: 0 is deterministic, 1 has the noise of the ancestral sampler."""

    eta: Annotated[float, Field(ge=0, le=1)]


class DPMSolver2MSettings(SamplerSettings):
    """Nothing more to set."""


def generators(seeds: Sequence[int], stream: int = START) -> list[np.random.Generator]:
    """One generator for each sample, from its seed (at least 0) and the purpose of the numbers."""
    return [np.random.default_rng([seed, stream]) for seed in seeds]


def noise_like(shape: Sequence[int], seeds: Sequence[int]) -> Tensor:
    """First noise (B, *shape) of the samples with these seeds: standard normal, float32, on the CPU."""
    return _draw(shape, generators(seeds))


def sample(
    denoise: Denoiser,
    noise: Tensor,
    schedule: Schedule,
    name: str,
    steps: int,
    options: object,
    seeds: Sequence[int],
) -> Tensor:
    """Samples (B, ...) from noise (B, ...), on its device and in its type, without gradients.

    Parameters
    ----------
    denoise
        From z (B, ...) and logsnr (B,) to x_hat, or to (x_hat, fraction), both (B, ...): the fraction of the learned
        variance, see objective.variance_fraction; only the ancestral sampler uses it.
    noise
        Standard normal; `noise_like(shape, seeds)`, moved to the device.
    name, options
        A key of SAMPLERS, and the options of that sampler.
    seeds
        (B,) whole numbers, for the noise of the steps where the sampler has any.

    Raises BadSettings where the name or an option is unknown, missing or out of range.
    """
    if name not in SAMPLERS:
        raise BadSettings(f"sampler: expected one of {', '.join(SAMPLERS)}, got {name!r}")
    if len(seeds) != len(noise):
        raise ValueError(f"expected one seed for each of {len(noise)} samples, got {len(seeds)}")
    entry = SAMPLERS[name]
    settings = check(entry.settings, options, f"sampler {name}")
    levels = logsnr_levels(schedule, steps, settings.spacing)
    with torch.no_grad():
        return entry.run(_Clipped(denoise, settings.clip), noise, levels, settings, generators(seeds, STEPS))


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


class _Clipped(NamedTuple):
    """The denoiser, at one logsnr for the whole batch, with its estimate held to the range."""

    denoise: Denoiser
    clip: tuple[float, float] | None

    def __call__(self, z: Tensor, logsnr: Tensor) -> tuple[Tensor, Tensor | None]:
        output = self.denoise(z, logsnr.to(z).expand(len(z)))
        x_hat, fraction = output if isinstance(output, tuple) else (output, None)
        return (x_hat if self.clip is None else x_hat.clamp(*self.clip)), fraction


def _ancestral(
    denoise: _Clipped, z: Tensor, levels: Tensor, settings: AncestralSettings, rngs: list[np.random.Generator]
) -> Tensor:
    for logsnr_t, logsnr_s in pairwise(levels):
        x_hat, fraction = denoise(z, logsnr_t)
        if logsnr_s == math.inf:
            return x_hat
        step = transition(logsnr_t, logsnr_s)
        mean = step.of_z * z + step.of_x * x_hat
        log = step.log_small if fraction is None else log_variance(fraction, step.log_small, step.log_large)
        z = mean + torch.exp(0.5 * log) * _draw(z.shape[1:], rngs).to(z)
    return z


def _ddim(
    denoise: _Clipped, z: Tensor, levels: Tensor, settings: DDIMSettings, rngs: list[np.random.Generator]
) -> Tensor:
    for logsnr_t, logsnr_s in pairwise(levels):
        x_hat, _ = denoise(z, logsnr_t)
        if logsnr_s == math.inf:
            return x_hat
        eps_hat = (z - alpha(logsnr_t) * x_hat) / sigma(logsnr_t)
        noise_variance = settings.eta**2 * transition(logsnr_t, logsnr_s).log_small.exp()
        # Rounding can take the difference just below zero.
        direction = (torch.sigmoid(-logsnr_s) - noise_variance).clamp(min=0).sqrt()
        z = alpha(logsnr_s) * x_hat + direction * eps_hat
        if settings.eta > 0:
            z = z + noise_variance.sqrt() * _draw(z.shape[1:], rngs).to(z)
    return z


def _dpm_solver_2m(
    denoise: _Clipped, z: Tensor, levels: Tensor, settings: DPMSolver2MSettings, rngs: list[np.random.Generator]
) -> Tensor:
    before: Tensor | None = None
    h_before = torch.zeros((), dtype=torch.float64)
    for logsnr_t, logsnr_s in pairwise(levels):
        x_hat, _ = denoise(z, logsnr_t)
        if logsnr_s == math.inf:
            return x_hat
        h = (logsnr_s - logsnr_t) / 2
        estimate = x_hat if before is None else x_hat + h / (2 * h_before) * (x_hat - before)
        z = sigma(logsnr_s) / sigma(logsnr_t) * z - alpha(logsnr_s) * torch.expm1(-h) * estimate
        before, h_before = x_hat, h
    return z


class _Entry(NamedTuple):
    settings: type[Any]
    run: Callable[[_Clipped, Tensor, Tensor, Any, list[np.random.Generator]], Tensor]


SAMPLERS: Mapping[str, _Entry] = {
    "ancestral": _Entry(AncestralSettings, _ancestral),
    "ddim": _Entry(DDIMSettings, _ddim),
    "dpm_solver_2m": _Entry(DPMSolver2MSettings, _dpm_solver_2m),
}


def _draw(shape: Sequence[int], rngs: Sequence[np.random.Generator]) -> Tensor:
    """Standard normal noise (B, *shape), float32, one generator for each sample.

    NumPy's generators, unlike torch's, give the same numbers on every processor.
    """
    return torch.stack([torch.from_numpy(rng.standard_normal(tuple(shape), dtype=np.float32)) for rng in rngs])
