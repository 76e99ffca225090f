"""How the reconstruction loss and the auxiliary segmentation loss are weighed against each other, step by step.

Mathur et al. 2025 name an "adaptive weighted loss" that "dynamically balances" both and give no formula. Each balance
here takes the two losses and says the total and lambda, the weight of segmentation relative to reconstruction:

    kendall         exp(-s1) L_recon + s1 + exp(-s2) L_seg + s2, s1 and s2 learned; lambda = exp(s1 - s2)
                    Kendall, Gal and Cipolla, Multi-Task Learning Using Uncertainty, 2018, section 3.2. For fixed losses
                    exp(s) is the loss at the minimum; s starts there, since it moves by a learning rate per step: from
                    zero, segmentation would rule for thousands of steps and paint lesions that any detector sees
    ema_ratio       lambda = target * mean(L_recon) / mean(L_seg), running means: segmentation keeps a share of the loss
    gradient_norm   lambda = |gradient of L_recon| / (|gradient of L_seg| + delta) at the network's last layer
                    Esser, Rombach and Ommer, Taming Transformers, 2021, equation 7
    fixed           lambda stays as given

Where a batch is cut into parts, each is weighed by itself, and running means become the mean of what the parts make of
them.

A part may hold nothing to segment (every sample too noisy): `present` is 0, and the total is reconstruction alone.
"""

import math
from collections.abc import Mapping
from typing import Annotated, NamedTuple

import torch
from pydantic import Field, PositiveFloat
from torch import Tensor, nn

from msdiff.settings import Choice, Entry, Settings, build


class KendallSettings(Settings):
    """The losses to be expected early in training; s1 and s2 start at their logarithms, lambda at their ratio."""

    reconstruction: PositiveFloat
    segmentation: PositiveFloat


class EMARatioSettings(Settings):
    """Share of the segmentation loss relative to reconstruction, decay of the running means, largest lambda."""

    target: PositiveFloat
    decay: Annotated[float, Field(ge=0, lt=1)]
    largest: PositiveFloat


class GradientNormSettings(Settings):
    """Delta keeps the ratio finite, largest bounds it (1e4 in Esser et al.)."""

    delta: PositiveFloat
    largest: PositiveFloat


class FixedBalanceSettings(Settings):
    """The weight of the segmentation loss; 0 is training without it."""

    weight: Annotated[float, Field(ge=0)]


class Weighed(NamedTuple):
    """Total loss and lambda, scalars."""

    total: Tensor
    weight: Tensor


class Balance(nn.Module):
    """Weighs two losses; a module, for its state is trained and stored with the network's."""

    def forward(self, reconstruction: Tensor, segmentation: Tensor, present: Tensor, last: nn.Parameter) -> Weighed:
        """Weigh scalars; `present` is 1 or 0, `last` the weight of the network's last layer."""
        raise NotImplementedError


class Kendall(Balance):
    """Learned uncertainties."""

    def __init__(self, settings: KendallSettings) -> None:
        super().__init__()
        self.s1 = nn.Parameter(torch.tensor(math.log(settings.reconstruction)))
        self.s2 = nn.Parameter(torch.tensor(math.log(settings.segmentation)))
        self.scale = settings.reconstruction

    def forward(self, reconstruction: Tensor, segmentation: Tensor, present: Tensor, last: nn.Parameter) -> Weighed:
        """See the head of this module; s2 rests where there is nothing to segment.

        All is scaled such that reconstruction weighs one at the start: gradients are clipped at a norm that suits it.
        """
        total = torch.exp(-self.s1) * reconstruction + self.s1
        total = total + present * (torch.exp(-self.s2) * segmentation + self.s2)
        return Weighed(self.scale * total, torch.exp(self.s1 - self.s2).detach())


class EMARatio(Balance):
    """Ratio of running means."""

    means: Tensor

    def __init__(self, settings: EMARatioSettings) -> None:
        super().__init__()
        self.settings = settings
        # Mean of reconstruction and of segmentation, and how much either has seen, to correct the start at zero.
        self.register_buffer("means", torch.zeros(2, 2))

    def forward(self, reconstruction: Tensor, segmentation: Tensor, present: Tensor, last: nn.Parameter) -> Weighed:
        """See the head of this module."""
        settings = self.settings
        losses = torch.stack([reconstruction.detach(), segmentation.detach()]).float()
        seen = torch.stack([torch.ones_like(present), present]).float()
        step = (1 - settings.decay) * seen[:, None]
        self.means += step * (torch.stack([losses, torch.ones_like(losses)], dim=1) - self.means)
        mean = self.means[:, 0] / self.means[:, 1].clamp(min=1e-12)
        weight = (settings.target * mean[0] / mean[1].clamp(min=1e-12)).clamp(max=settings.largest)
        return Weighed(reconstruction + present * weight * segmentation, weight)


class GradientNorm(Balance):
    """Ratio of gradients at the last layer."""

    def __init__(self, settings: GradientNormSettings) -> None:
        super().__init__()
        self.settings = settings

    def forward(self, reconstruction: Tensor, segmentation: Tensor, present: Tensor, last: nn.Parameter) -> Weighed:
        """See the head of this module."""
        if not segmentation.requires_grad:
            return Weighed(reconstruction, torch.zeros_like(reconstruction))
        of_reconstruction, of_segmentation = (
            torch.autograd.grad(loss, last, retain_graph=True)[0].norm() for loss in (reconstruction, segmentation)
        )
        weight = of_reconstruction / (of_segmentation + self.settings.delta)
        weight = weight.clamp(max=self.settings.largest).detach()
        return Weighed(reconstruction + present * weight * segmentation, weight)


class Fixed(Balance):
    """A constant."""

    def __init__(self, settings: FixedBalanceSettings) -> None:
        super().__init__()
        self.settings = settings

    def forward(self, reconstruction: Tensor, segmentation: Tensor, present: Tensor, last: nn.Parameter) -> Weighed:
        """See the head of this module."""
        weight = torch.full_like(reconstruction, self.settings.weight).detach()
        return Weighed(reconstruction + present * weight * segmentation, weight)


BALANCES: Mapping[str, Entry] = {
    "kendall": Entry(KendallSettings, Kendall),
    "ema_ratio": Entry(EMARatioSettings, EMARatio),
    "gradient_norm": Entry(GradientNormSettings, GradientNorm),
    "fixed": Entry(FixedBalanceSettings, Fixed),
}


def build_balance(choice: Choice) -> Balance:
    """The chosen balance; BadSettings if the name or an option is not known."""
    balance: Balance = build(BALANCES, choice.backend, choice.options, "balance")
    return balance
