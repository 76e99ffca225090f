"""Classifier-free guidance: train now and then without a condition, then move away from the unconditional answer.

    guided = unconditional + (1 + w) (conditional - unconditional)

Ho and Salimans, Classifier-Free Diffusion Guidance, 2022, equation 6; w = 0 is the plain conditional model.
"""

import torch
from torch import Tensor

from msdiff.diffusion.noise import expand


def guided(conditional: Tensor, unconditional: Tensor, weight: float) -> Tensor:
    """The guided prediction, of the shape of both (B, ...); equal to `conditional` to the bit where the weight is 0."""
    return conditional + weight * (conditional - unconditional)


def dropped(batch: int, probability: float, generator: torch.Generator) -> Tensor:
    """Which samples (B,) of a batch go without a condition: True with that probability, on the generator's device."""
    return torch.rand(batch, generator=generator, device=generator.device) < probability


def without(condition: Tensor, null: Tensor, drop: Tensor) -> Tensor:
    """The condition (B, ...), with `null` (broadcast to it: zeros, noise, an embedding) where `drop` (B,) is True."""
    return torch.where(expand(drop.to(condition.device), condition), null, condition)
