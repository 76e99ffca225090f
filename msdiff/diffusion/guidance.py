"""Classifier-free guidance: train now and then without a condition, then move away from the unconditional answer.

    guided = unconditional + (1 + w) (conditional - unconditional)

Ho and Salimans, Classifier-Free Diffusion Guidance, 2022, equation 6; w = 0 is the plain conditional model.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from msdiff.diffusion.noise import expand

Estimate = Tensor | tuple[Tensor, Tensor]


def guided(conditional: Tensor, unconditional: Tensor, weight: float) -> Tensor:
    """The guided prediction, of the shape of both (B, ...); equal to `conditional` to the bit where the weight is 0."""
    return conditional + weight * (conditional - unconditional)


def guided_denoiser(
    estimate: Callable[..., Estimate], conditions: Sequence[Tensor], null: Sequence[Tensor], weight: float
) -> Callable[[Tensor, Tensor], Estimate]:
    """What the samplers of msdiff.diffusion.sampler ask for, from estimate(z, logsnr, *conditions) of x_hat.

    Both answers come from one batch of twice the size; without a weight only the conditional one is asked for. Guiding
    x_hat is guiding any prediction, for at one z each is linear in the others. Where the variance is learned, its
    fraction is that of the conditional answer.
    """
    if weight == 0:
        return lambda z, logsnr: estimate(z, logsnr, *conditions)
    both = [torch.cat(pair) for pair in zip(conditions, null, strict=True)]

    def denoise(z: Tensor, logsnr: Tensor) -> Estimate:
        output = estimate(torch.cat([z, z]), torch.cat([logsnr, logsnr]), *both)
        x_hat, fraction = output if isinstance(output, tuple) else (output, None)
        conditional, unconditional = x_hat.chunk(2)
        answer = guided(conditional, unconditional, weight)
        return answer if fraction is None else (answer, fraction.chunk(2)[0])

    return denoise


def dropped(batch: int, probability: float, generator: torch.Generator) -> Tensor:
    """Which samples (B,) of a batch go without a condition: True with that probability, on the generator's device."""
    return torch.rand(batch, generator=generator, device=generator.device) < probability


def without(condition: Tensor, null: Tensor, drop: Tensor) -> Tensor:
    """The condition (B, ...), with `null` (broadcast to it: zeros, noise, an embedding) where `drop` (B,) is True."""
    return torch.where(expand(drop.to(condition.device), condition), null, condition)
