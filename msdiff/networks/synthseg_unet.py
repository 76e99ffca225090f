"""The 3-D U-Net of SynthSeg, layer for layer as published, so that weights pass between PyTorch and Keras.

Billot et al., Medical Image Analysis 86, 2023. Each level: convolutions of 3 x 3 x 3 with ELU, then one batch norm;
max pooling on the way down, nearest neighbours on the way up. A skip leaves its level before the batch norm and comes
first in the concatenation.
"""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from msdiff.settings import Settings

# Keras' defaults, which the published network keeps.
EPSILON = 1e-3
MOMENTUM = 0.01
# A batch norm's tensors by Keras' names.
NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
# Of the last batch norm, at the start.
LAST_SCALE = 4.0


class SynthSegSettings(Settings):
    """Size of the network: features of the first level, doubled at each of the next."""

    features: int
    levels: int
    convolutions: int


class SynthSegUNet(nn.Module):
    """Image (B, 1, X, Y, Z) in [0, 1] to logits (B, labels, X, Y, Z); sides are multiples of 2 ** (levels - 1).

    Parameters
    ----------
    priors
        Frequencies of the labels (L,), background included, all above 0; the network starts from them.
    frozen_after
        Number of training batches after which batch norms keep their statistics and use them in training as in
        inference: one crop's moments say little of a whole head's, and the last steps fit the weights to the
        statistics that inference will use.
    """

    def __init__(self, settings: SynthSegSettings, priors: NDArray[np.float64], frozen_after: int) -> None:
        super().__init__()
        labels = len(priors)
        levels = settings.levels
        widths = [settings.features * 2**level for level in range(levels)]
        self.down = nn.ModuleList()
        self.down_norms = nn.ModuleList()
        channels = 1
        for width in widths:
            self.down.append(_convolutions(channels, width, settings.convolutions))
            self.down_norms.append(_Norm(width, frozen_after))
            channels = width
        self.up = nn.ModuleList()
        self.up_norms = nn.ModuleList()
        for width in widths[-2::-1]:
            self.up.append(_convolutions(channels + width, width, settings.convolutions))
            self.up_norms.append(_Norm(width, frozen_after))
            channels = width
        self.likelihood = _Convolution(channels, labels, 1)
        self._initialise(priors)

    def _initialise(self, priors: NDArray[np.float64]) -> None:
        """Start from the labels' frequencies, with strong features before the last layer.

        Adam moves each weight by the learning rate at most: without both, the first hundreds of steps go by until the
        logits are as far apart as they must be.
        """
        nn.init.constant_(self.up_norms[-1].weight, LAST_SCALE)  # type: ignore[arg-type]
        nn.init.normal_(self.likelihood.weight, std=0.1 / LAST_SCALE)
        with torch.no_grad():
            self.likelihood.bias.copy_(torch.from_numpy(np.log(priors)))  # type: ignore[union-attr]

    def forward(self, image: Tensor) -> Tensor:
        """Logits."""
        skips: list[Tensor] = []
        tensor = image
        for convolutions, norm in zip(self.down, self.down_norms, strict=True):
            if skips:
                tensor = functional.max_pool3d(tensor, 2)
            for convolution in convolutions.children():
                tensor = functional.elu(convolution(tensor))
            skips.append(tensor)
            tensor = norm(tensor)
        for skip, convolutions, norm in zip(skips[-2::-1], self.up, self.up_norms, strict=True):
            tensor = torch.cat([skip, functional.interpolate(tensor, scale_factor=2, mode="nearest")], dim=1)
            for convolution in convolutions.children():
                tensor = functional.elu(convolution(tensor))
            tensor = norm(tensor)
        return self.likelihood(tensor)  # type: ignore[no-any-return]

    def published(self) -> dict[str, dict[str, Tensor]]:
        """The weights by the published layer's name and Keras' kind; kernels (X, Y, Z, in, out), as Keras has them."""
        return {name: layer.published() for name, layer in self._layers().items()}

    def set_published(self, weights: dict[str, dict[str, Tensor]]) -> None:
        """Take over weights as `published` gives them."""
        for name, layer in self._layers().items():
            layer.set_published(weights[name])

    def _layers(self) -> "dict[str, _Convolution | _Norm]":
        levels = len(self.down)
        layers: dict[str, Any] = {}
        for level, (convolutions, norm) in enumerate(zip(self.down, self.down_norms, strict=True)):
            layers |= {f"unet_conv_downarm_{level}_{k}": layer for k, layer in enumerate(convolutions.children())}
            layers[f"unet_bn_down_{level}"] = norm
        for level, (convolutions, norm) in enumerate(zip(self.up, self.up_norms, strict=True)):
            layers |= {
                f"unet_conv_uparm_{levels + level}_{k}": layer for k, layer in enumerate(convolutions.children())
            }
            layers[f"unet_bn_up_{level}"] = norm
        return {**layers, "unet_likelihood": self.likelihood}


class _Convolution(nn.Conv3d):
    """Its weights are kept at a spread of one and scaled by He's factor when used (Karras et al., ICLR 2018).

    Adam then changes the weights of every layer by the same share in a step, be their number small or large.
    """

    def __init__(self, before: int, after: int, side: int) -> None:
        super().__init__(before, after, side, padding=side // 2)
        self.factor = math.sqrt(2 / (before * side**3))
        nn.init.normal_(self.weight)
        nn.init.zeros_(self.bias)  # type: ignore[arg-type]

    def forward(self, tensor: Tensor) -> Tensor:
        return self._conv_forward(tensor, self.weight * self.factor, self.bias)  # type: ignore[no-any-return]

    def published(self) -> dict[str, Tensor]:
        """Kernel and bias as Keras has them."""
        kernel = (self.weight * self.factor).permute(2, 3, 4, 1, 0)
        return {"kernel": kernel, "bias": self.bias}  # type: ignore[dict-item]

    @torch.no_grad()
    def set_published(self, weights: dict[str, Tensor]) -> None:
        """Take over kernel and bias from Keras."""
        self.weight.copy_(weights["kernel"].permute(4, 3, 0, 1, 2) / self.factor)
        self.bias.copy_(weights["bias"])  # type: ignore[union-attr]


class _Norm(nn.BatchNorm3d):
    def __init__(self, channels: int, frozen_after: int) -> None:
        super().__init__(channels, eps=EPSILON, momentum=MOMENTUM)
        self.frozen_after = frozen_after

    def forward(self, tensor: Tensor) -> Tensor:
        if self.training and int(self.num_batches_tracked or 0) < self.frozen_after:
            return super().forward(tensor)
        return functional.batch_norm(
            tensor, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
        )

    def published(self) -> dict[str, Tensor]:
        """The norm as Keras has it."""
        return {kind: getattr(self, own) for kind, own in NORM.items()}

    @torch.no_grad()
    def set_published(self, weights: dict[str, Tensor]) -> None:
        """Take over the norm from Keras."""
        for kind, own in NORM.items():
            getattr(self, own).copy_(weights[kind])


def _convolutions(before: int, after: int, number: int) -> nn.ModuleList:
    return nn.ModuleList(_Convolution(before if k == 0 else after, after, 3) for k in range(number))
