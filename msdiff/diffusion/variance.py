"""The learned variance of the reverse steps, and the variational bound that teaches it.

Sigma = exp(f log beta + (1 - f) log beta_tilde)            (Nichol and Dhariwal 2021, equation 15)
L     = L_simple + lambda L_vlb,  lambda = 0.001            (equation 16; the mean is frozen in L_vlb)
"""

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from msdiff.diffusion.noise import Schedule, expand, transition
from msdiff.settings import Settings


class HybridSettings(Settings):
    """The learned variance.

    vlb_weight      lambda, 0.001 in Nichol and Dhariwal 2021 (with L_vlb in bits per dimension, summed over the steps)
    steps           T of the discrete chain that L_vlb bounds
    levels          grey levels between -1 and 1 that the likelihood of the last step tells apart; 256 for 8 bit
    """

    vlb_weight: Annotated[float, Field(ge=0)]
    steps: Annotated[int, Field(ge=2)]
    levels: Annotated[int, Field(ge=2)]


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
    """L_simple + lambda T mean(term): a scalar, from `Objective.loss` and `vlb_term`.

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
