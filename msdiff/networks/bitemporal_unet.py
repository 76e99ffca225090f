"""Bi-temporal UNet: both dates enter as channels of one image, a UNet marks what changed.

FC-EF of Daudt et al., Fully Convolutional Siamese Networks for Change Detection, 2018: early fusion, levels of 16, 32,
64 and 128 channels with 2, 2, 3 and 3 convolutions, each with batch normalisation and dropout of whole channels (0.2),
transposed convolutions on the way up, skips; 1.35 million parameters.
"""

from itertools import pairwise
from typing import Annotated, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from msdiff.networks.padding import cropped, pad_to_multiple
from msdiff.settings import Settings

Count = Annotated[int, Field(ge=1)]


class BitemporalUNetSettings(Settings):
    """Sizes of the network.

    widths          channels of each level; each level ends with a halving of the image
    convolutions    of each level, on the way down and again on the way up
    dropout         probability to drop a channel, after every convolution
    """

    widths: Annotated[tuple[Count, ...], Field(min_length=1)]
    convolutions: tuple[Count, ...]
    dropout: Annotated[float, Field(ge=0, lt=1)]

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if len(self.widths) != len(self.convolutions):
            raise ValueError(
                f"convolutions needs one value per level, {len(self.widths)}, got {len(self.convolutions)}"
            )
        return self


class BitemporalUNet(nn.Module):
    """Detector of change between two images of one slice, of any size (padded inside to multiples of 2^levels)."""

    def __init__(self, settings: BitemporalUNetSettings) -> None:
        super().__init__()
        self.settings = settings
        widths, dropout = settings.widths, settings.dropout
        self.down = nn.ModuleList()
        self.up = nn.ModuleList()
        self.enlarge = nn.ModuleList()
        before = 2
        for width, convolutions in zip(widths, settings.convolutions, strict=True):
            self.down.append(_convolutions([before] + [width] * convolutions, dropout))
            before = width
        for level in reversed(range(len(widths))):
            width, after = widths[level], widths[max(level - 1, 0)]
            self.enlarge.append(nn.ConvTranspose2d(width, width, kernel_size=3, stride=2, padding=1, output_padding=1))
            channels = [2 * width] + [width] * (settings.convolutions[level] - 1) + [after]
            self.up.append(_convolutions(channels, dropout))
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Conv2d(widths[0], 1, kernel_size=1)

    def forward(self, baseline: Tensor, follow_up: Tensor) -> Tensor:
        """Logits of change (B, 1, H, W) between two images (B, 1, H, W) in [-1, 1]."""
        hidden = pad_to_multiple(torch.cat([baseline, follow_up], dim=1), 2 ** len(self.down))
        skips = []
        for block in self.down:
            hidden = block(hidden)
            skips.append(hidden)
            hidden = self.pool(hidden)
        for enlarge, block, skip in zip(self.enlarge, self.up, reversed(skips), strict=True):
            hidden = block(torch.cat([enlarge(hidden), skip], dim=1))
        logits: Tensor = self.head(hidden)
        return cropped(logits, baseline)


def _convolutions(channels: list[int], dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in pairwise(channels):
        layers += [
            nn.Conv2d(before, after, kernel_size=3, padding=1),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Dropout2d(dropout),
        ]
    return nn.Sequential(*layers)
