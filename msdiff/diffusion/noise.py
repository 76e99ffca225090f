"""Noise: how much of it there is at every time, and how it is added.

    z_t = alpha_t x + sigma_t eps,    alpha_t^2 = sigmoid(logsnr(t)),    sigma_t^2 = sigmoid(-logsnr(t))

Time t runs from 0 (clean) to 1 (noise); logsnr = log(alpha^2 / sigma^2) falls with t. (Kingma et al., Variational
Diffusion Models, 2021, section 3.1.) A schedule is a function from t (B,) to logsnr (B,). The transition from t to an
earlier s < t has c = 1 - SNR(t) / SNR(s), and

    q(z_t | z_s):     variance sigma_t^2 c                                          ("beta" of a discrete chain)
    q(z_s | z_t, x):  variance sigma_s^2 c, mean (alpha_t sigma_s^2) / (alpha_s sigma_t^2) z_t + alpha_s c x

(the same paper, appendix A, equations 25 to 33). A logsnr of +infinity is a clean image.
"""

import math
from collections.abc import Callable, Mapping
from typing import Annotated, NamedTuple, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from msdiff.settings import Entry, Settings, build

Schedule = Callable[[Tensor], Tensor]


class Limits(Settings):
    """No schedule leaves [logsnr_min, logsnr_max]: the ends of any are finite."""

    logsnr_min: Annotated[float, Field(lt=0, ge=-40)]
    logsnr_max: Annotated[float, Field(gt=0, le=40)]


class CosineSettings(Limits):
    """The offset s keeps the first steps of a discrete chain from being too small to matter."""

    offset: Annotated[float, Field(ge=0, lt=1)]


class LinearBetaSettings(Limits):
    """First and last beta of a discrete chain, and the number of its steps."""

    beta_first: Annotated[float, Field(gt=0, lt=1)]
    beta_last: Annotated[float, Field(gt=0, lt=1)]
    steps: Annotated[int, Field(ge=1)]


class ShiftedCosineSettings(Limits):
    """Side length in pixels at which the noise is that of the cosine schedule, and that of the image."""

    noise_d: Annotated[float, Field(gt=0)]
    image_d: Annotated[float, Field(gt=0)]


class InterpolatedCosineSettings(Limits):
    """Side lengths in pixels: low (more noise) rules at t = 1, high (less noise) at t = 0."""

    noise_d_low: Annotated[float, Field(gt=0)]
    noise_d_high: Annotated[float, Field(gt=0)]
    image_d: Annotated[float, Field(gt=0)]

    @model_validator(mode="after")
    def _low_below_high(self) -> Self:
        if self.noise_d_low > self.noise_d_high:
            # The other way round the schedule would not be monotone.
            raise ValueError(f"noise_d_low must not exceed noise_d_high {self.noise_d_high}, got {self.noise_d_low}")
        return self


def cosine(settings: CosineSettings) -> Schedule:
    """alpha^2(t) = f(t) / f(0), f(t) = cos^2((t + s) / (1 + s) pi / 2), clamped to the limits.

    Nichol and Dhariwal, Improved Denoising Diffusion Probabilistic Models, 2021, equation 17. Their cap beta <= 0.999
    on the last of 1000 steps is a logsnr of -19.8; the limits take its place.
    """
    first = settings.offset / (1 + settings.offset) * math.pi / 2

    def logsnr(t: Tensor) -> Tensor:
        turn = t.double() / (1 + settings.offset) * math.pi / 2
        # sigma^2 f(0) = cos^2(first) - cos^2(first + turn), as a product, which does not cancel; zero at t = 0.
        noise = torch.sin(turn) * torch.sin(2 * first + turn)
        # At t = 1 rounding can make the cosine zero or less.
        image = torch.cos(first + turn).clamp(min=1e-30).square()
        return (image.log() - noise.log()).clamp(settings.logsnr_min, settings.logsnr_max).to(t.dtype)

    return logsnr


def linear_beta(settings: LinearBetaSettings) -> Schedule:
    """The linear chain of DDPM in continuous time: exact at t = i / steps, log alpha linear between.

    Ho et al., Denoising Diffusion Probabilistic Models, 2020, section 4: beta from 1e-4 to 0.02 in 1000 steps.
    """
    betas = torch.linspace(settings.beta_first, settings.beta_last, settings.steps, dtype=torch.float64)
    table = torch.cat([torch.zeros(1, dtype=torch.float64), torch.log1p(-betas).cumsum(0)])

    def logsnr(t: Tensor) -> Tensor:
        position = t.double() * settings.steps
        below = position.floor().long().clamp(0, settings.steps - 1)
        values = table.to(t.device)
        log_alpha2 = values[below] + (position - below) * (values[below + 1] - values[below])
        noise = torch.log(-torch.expm1(log_alpha2))
        return (log_alpha2 - noise).clamp(settings.logsnr_min, settings.logsnr_max).to(t.dtype)

    return logsnr


def shifted_cosine(settings: ShiftedCosineSettings) -> Schedule:
    """The cosine schedule of an image of side noise_d, with the same noise per area on one of side image_d.

    logsnr = -2 log tan(t_min + t (t_max - t_min)) + 2 log(noise_d / image_d); t_min and t_max such that the limits hold
    after the shift. Hoogeboom et al., simple diffusion, 2023, section 3.1; noise_d = image_d is the plain cosine
    schedule of Variational Diffusion Models.
    """
    shift = 2 * math.log(settings.noise_d / settings.image_d)
    first = math.atan(math.exp(-(settings.logsnr_max - shift) / 2))
    last = math.atan(math.exp(-(settings.logsnr_min - shift) / 2))

    def logsnr(t: Tensor) -> Tensor:
        values = -2 * torch.log(torch.tan(first + t.double() * (last - first))) + shift
        return values.clamp(settings.logsnr_min, settings.logsnr_max).to(t.dtype)

    return logsnr


def interpolated_cosine(settings: InterpolatedCosineSettings) -> Schedule:
    """Schedule t shift(noise_d_low) + (1 - t) shift(noise_d_high).

    Hoogeboom et al., simple diffusion, 2023, section 3.1.
    """
    limits = {"logsnr_min": settings.logsnr_min, "logsnr_max": settings.logsnr_max, "image_d": settings.image_d}
    low = shifted_cosine(ShiftedCosineSettings(noise_d=settings.noise_d_low, **limits))
    high = shifted_cosine(ShiftedCosineSettings(noise_d=settings.noise_d_high, **limits))

    def logsnr(t: Tensor) -> Tensor:
        time = t.double()
        return (time * low(time) + (1 - time) * high(time)).to(t.dtype)

    return logsnr


SCHEDULES: Mapping[str, Entry] = {
    "cosine": Entry(CosineSettings, cosine),
    "linear_beta": Entry(LinearBetaSettings, linear_beta),
    "shifted_cosine": Entry(ShiftedCosineSettings, shifted_cosine),
    "interpolated_cosine": Entry(InterpolatedCosineSettings, interpolated_cosine),
}


def load_schedule(name: str, options: object) -> Schedule:
    """The schedule of that name: a function from t (B,) in [0, 1] to logsnr (B,), computed in double precision.

    Raises BadSettings if the name or an option is unknown, missing or out of range.
    """
    schedule: Schedule = build(SCHEDULES, name, options, "schedule")
    return schedule


def alpha(logsnr: Tensor) -> Tensor:
    """Scale of the image in z, in [0, 1], shape of `logsnr`."""
    return torch.sigmoid(logsnr).sqrt()


def sigma(logsnr: Tensor) -> Tensor:
    """Scale of the noise in z, in [0, 1], shape of `logsnr`."""
    return torch.sigmoid(-logsnr).sqrt()


def expand(values: Tensor, like: Tensor) -> Tensor:
    """Values (B,) as (B, 1, ..., 1) in the number of axes and, unless boolean, the type of `like`."""
    shaped = values.reshape(-1, *[1] * (like.ndim - 1))
    return shaped if shaped.dtype == torch.bool else shaped.to(like.dtype)


def add_noise(x: Tensor, eps: Tensor, logsnr: Tensor) -> Tensor:
    """Noisy images z = alpha x + sigma eps, for images x and noise eps (B, ...) and logsnr (B,)."""
    return expand(alpha(logsnr), x) * x + expand(sigma(logsnr), x) * eps


class Transition(NamedTuple):
    """The step from t back to s, each of the shape of the logsnr.

    of_z, of_x      mean of q(z_s | z_t, x) = of_z z_t + of_x x
    log_small       log variance of q(z_s | z_t, x), "beta tilde"; -infinity where s is clean
    log_large       log variance of q(z_t | z_s), "beta"
    """

    of_z: Tensor
    of_x: Tensor
    log_small: Tensor
    log_large: Tensor


def transition(logsnr_t: Tensor, logsnr_s: Tensor) -> Transition:
    """The step from t back to s < t, logsnr_s > logsnr_t; see the head of this module for the formulas."""
    c = -torch.expm1(logsnr_t - logsnr_s)
    alpha_s = alpha(logsnr_s)
    return Transition(
        of_z=alpha(logsnr_t) * torch.sigmoid(-logsnr_s) / (alpha_s * torch.sigmoid(-logsnr_t)),
        of_x=alpha_s * c,
        log_small=c.log() + torch.nn.functional.logsigmoid(-logsnr_s),
        log_large=c.log() + torch.nn.functional.logsigmoid(-logsnr_t),
    )
