"""What the network predicts, and what its errors cost.

From z = alpha x + sigma eps the network predicts one of

    eps,    x,    v = alpha eps - sigma x        (Salimans and Ho, Progressive Distillation, 2022, section 4)

Each gives the others: the errors relate as |eps error|^2 = SNR |x error|^2 and |v error|^2 = (SNR + 1) |x error|^2, and
so do the weights. The hybrid objective learns the variance of the reverse steps as well:

    Sigma = exp(f log beta + (1 - f) log beta_tilde)            (Nichol and Dhariwal 2021, equation 15)
    L     = L_simple + lambda L_vlb,  lambda = 0.001            (equation 16; the mean is frozen in L_vlb)
"""

import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from msdiff.diffusion.noise import Schedule, alpha, expand, sigma, transition
from msdiff.errors import BadSettings
from msdiff.settings import Settings, check


class Prediction(NamedTuple):
    """A kind of output; `a` and `s` are alpha and sigma, shaped to broadcast."""

    target: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]  # x, eps, a, s
    to_x: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]  # output, z, a, s
    to_eps: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]  # output, z, a, s
    log_x_weight: Callable[[Tensor], Tensor]  # log of |x error|^2 / |output error|^2, from logsnr


PREDICTIONS: Mapping[str, Prediction] = {
    "eps": Prediction(
        target=lambda x, eps, a, s: eps,
        to_x=lambda output, z, a, s: (z - s * output) / a,
        to_eps=lambda output, z, a, s: output,
        log_x_weight=lambda logsnr: -logsnr,
    ),
    "x": Prediction(
        target=lambda x, eps, a, s: x,
        to_x=lambda output, z, a, s: output,
        to_eps=lambda output, z, a, s: (z - a * output) / s,
        log_x_weight=lambda logsnr: torch.zeros_like(logsnr),
    ),
    "v": Prediction(
        target=lambda x, eps, a, s: a * eps - s * x,
        to_x=lambda output, z, a, s: a * z - s * output,
        to_eps=lambda output, z, a, s: s * z + a * output,
        log_x_weight=lambda logsnr: torch.nn.functional.logsigmoid(-logsnr),
    ),
}


def target(x: Tensor, eps: Tensor, logsnr: Tensor, prediction: str) -> Tensor:
    """What the network should say for images x and noise eps (B, ...) at logsnr (B,)."""
    return _prediction(prediction).target(x, eps, expand(alpha(logsnr), x), expand(sigma(logsnr), x))


def to_x(output: Tensor, z: Tensor, logsnr: Tensor, prediction: str) -> Tensor:
    """Estimate of the clean image (B, ...) from the network's output at z."""
    return _prediction(prediction).to_x(output, z, expand(alpha(logsnr), z), expand(sigma(logsnr), z))


def to_eps(output: Tensor, z: Tensor, logsnr: Tensor, prediction: str) -> Tensor:
    """Estimate of the noise (B, ...) from the network's output at z."""
    return _prediction(prediction).to_eps(output, z, expand(alpha(logsnr), z), expand(sigma(logsnr), z))


class UnitSettings(Settings):
    """Nothing to set: every error of the network's own output counts the same."""


class MinSNRSettings(Settings):
    """gamma: the largest weight of the error in x. 5 in Hang et al. 2023."""

    gamma: Annotated[float, Field(gt=0)]


def _unit(logsnr: Tensor, prediction: str, settings: UnitSettings) -> Tensor:
    return torch.ones_like(logsnr)


def _min_snr(logsnr: Tensor, prediction: str, settings: MinSNRSettings) -> Tensor:
    """min(SNR, gamma) on the error in x; so over SNR on eps, over SNR + 1 on v.

    Hang et al., Efficient Diffusion Training via Min-SNR Weighting Strategy, 2023, section 3.4.
    """
    log_weight = logsnr.clamp(max=math.log(settings.gamma))
    return torch.exp(log_weight + _prediction(prediction).log_x_weight(logsnr))


class _Weight(NamedTuple):
    settings: type[Any]
    weigh: Callable[[Tensor, str, Any], Tensor]


WEIGHTS: Mapping[str, _Weight] = {
    "unit": _Weight(UnitSettings, _unit),
    "min_snr": _Weight(MinSNRSettings, _min_snr),
}


def loss_weight(logsnr: Tensor, prediction: str, name: str, options: object) -> Tensor:
    """Weight (B,) of each sample's squared error in the network's own output; BadSettings on an unknown name."""
    if name not in WEIGHTS:
        raise BadSettings(f"loss weight: expected one of {', '.join(WEIGHTS)}, got {name!r}")
    entry = WEIGHTS[name]
    return entry.weigh(logsnr, prediction, check(entry.settings, options, f"loss weight {name}"))


def weighted_mse(output: Tensor, target: Tensor, weight: Tensor, voxel_weight: Tensor | None = None) -> Tensor:
    """Mean over the batch of weight times the mean squared error of a sample: a scalar.

    Parameters
    ----------
    output, target
        (B, C, ...).
    weight
        (B,), from `loss_weight`.
    voxel_weight
        Broadcasts to the output, at least zero, for instance ten on lesions and one elsewhere. Divided by its sum
        over each sample, so that lesions raise their share of the loss and not the learning rate.
    """
    error = (output - target).square()
    axes = tuple(range(1, error.ndim))
    if voxel_weight is None:
        per_sample = error.mean(axes)
    else:
        spread = voxel_weight.to(error.dtype).expand_as(error)
        per_sample = (spread * error).sum(axes) / spread.sum(axes)
    return (weight.to(error.dtype) * per_sample).mean()


class HybridSettings(Settings):
    """The learned variance.

    vlb_weight      lambda, 0.001 in Nichol and Dhariwal 2021 (with L_vlb in bits per dimension, summed over the steps)
    steps           T of the discrete chain that L_vlb bounds
    levels          grey levels between -1 and 1 that the likelihood of the last step tells apart; 256 for 8 bit
    """

    vlb_weight: Annotated[float, Field(ge=0)]
    steps: Annotated[int, Field(ge=2)]
    levels: Annotated[int, Field(ge=2)]


def spread_times(batch: int, rng: torch.Generator) -> Tensor:
    """Times (B,) in [0, 1), one in each of B equal parts in random order, in double precision.

    Spread so, the loss of a batch varies less (Kingma et al., Variational Diffusion Models, 2021, appendix I.1).
    """
    start = torch.rand(1, generator=rng, device=rng.device, dtype=torch.float64)
    order = torch.randperm(batch, generator=rng, device=rng.device)
    return (start + order / batch) % 1


def discrete_times(index: Tensor, steps: int) -> Tensor:
    """Time (B,) of a discrete step 0 to steps - 1: (index + 1) / steps, in double precision."""
    return (index.double() + 1) / steps


def variance_fraction(output: Tensor) -> Tensor:
    """The fraction f of a network's second output, of any real value: -1 stands for beta tilde, 1 for beta."""
    return (output + 1) / 2


def log_variance(fraction: Tensor, log_small: Tensor, log_large: Tensor) -> Tensor:
    """Log of the learned variance, f log beta + (1 - f) log beta_tilde. Nichol and Dhariwal 2021, equation 15."""
    return fraction * log_large + (1 - fraction) * log_small


def vlb_term(
    x_hat: Tensor, fraction: Tensor, x: Tensor, z: Tensor, index: Tensor, schedule: Schedule, settings: HybridSettings
) -> Tensor:
    """One term of the variational bound for each sample (B,), in bits per dimension.

    For index 1 to T - 1 the divergence KL(q(z_s | z_t, x) || p(z_s | z_t)); for index 0 the likelihood of the image,
    -log p(x | z). The mean is frozen: gradients flow to `fraction` only. The bound is the sum over all T, hence T times
    the mean of this over random steps. (Nichol and Dhariwal 2021, equations 4 to 7 and section 3.1.)

    Parameters
    ----------
    x_hat, fraction, x, z
        (B, C, ...): estimate of the image, variance fraction, the image in [-1, 1] and its noisy version.
    index
        (B,) discrete steps, 0 to settings.steps - 1; z was made at `schedule(discrete_times(index, steps))`.
    """
    first = index == 0
    logsnr_t = schedule(discrete_times(index, settings.steps))
    logsnr_s = schedule(discrete_times(index - 1, settings.steps)).masked_fill(first, math.inf)
    step = transition(logsnr_t, logsnr_s)
    # The first step's beta tilde is zero, its logarithm that of the second step's (their "clipped" log variance).
    ones = torch.ones_like(index)
    second = transition(
        schedule(discrete_times(ones, settings.steps)), schedule(discrete_times(ones - 1, settings.steps))
    )
    log_small = expand(torch.where(first, second.log_small, step.log_small), x)
    log_large = expand(step.log_large, x)
    learned = log_variance(fraction, log_small, log_large)
    of_z, of_x = expand(step.of_z, x), expand(step.of_x, x)
    true_mean = of_z * z + of_x * x
    mean = of_z * z + of_x * x_hat.detach()
    divergence = 0.5 * (
        learned - log_small + torch.exp(log_small - learned) + (true_mean - mean).square() * torch.exp(-learned) - 1
    )
    surprise = -discretised_log_likelihood(x, mean, learned, settings.levels)
    nats = torch.where(expand(first, x), surprise, divergence)
    return nats.flatten(1).mean(1) / math.log(2)


def hybrid_loss(simple: Tensor, term: Tensor, settings: HybridSettings) -> Tensor:
    """L_simple + lambda T mean(term): a scalar, from `weighted_mse` and `vlb_term`.

    With T = 1000 and lambda = 0.001 the factor is one; improved-diffusion writes it as vb * T / 1000.
    """
    return simple + settings.vlb_weight * settings.steps * term.mean()


def discretised_log_likelihood(x: Tensor, mean: Tensor, log_variance: Tensor, levels: int) -> Tensor:
    """Log probability of each voxel of x in [-1, 1] under a Gaussian cut into `levels` bins, the outer ones open.

    Ho et al. 2020, equation 13.
    """
    half = 1 / (levels - 1)
    scale = torch.exp(-0.5 * log_variance)
    above = scale * (x - mean + half)
    below = scale * (x - mean - half)
    inside = (torch.special.ndtr(above) - torch.special.ndtr(below)).clamp(min=1e-12).log()
    edge = 1 - half
    lowest, highest = torch.special.log_ndtr(above), torch.special.log_ndtr(-below)
    return torch.where(x < -edge, lowest, torch.where(x > edge, highest, inside))


def _prediction(name: str) -> Prediction:
    if name not in PREDICTIONS:
        raise BadSettings(f"prediction: expected one of {', '.join(PREDICTIONS)}, got {name!r}")
    return PREDICTIONS[name]
