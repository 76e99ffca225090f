"""Encoder of a slice: a short vector that stays the same when the slice is moved, flipped, blurred or noisy a little.

A patch embedding and strided convolutions, each with a group normalisation, then one linear layer; the vector is
brought to length one, so that the product of two is their cosine. Small: 64 x 64 pixels in 128 numbers for 14 million
multiplications.
"""

from itertools import pairwise
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from msdiff.settings import Settings

Count = Annotated[int, Field(ge=1)]


class SliceEncoderSettings(Settings):
    """Sizes of the network.

    patch               side, in pixels, of the patches that the first layer sees one by one
    widths              channels of each layer; each but the first halves the image
    norm_groups         of the group normalisation; divides all widths
    numbers             of the vector
    """

    patch: Count
    widths: Annotated[tuple[Count, ...], Field(min_length=1)]
    norm_groups: Count
    numbers: Count


class SliceEncoder(nn.Module):
    """Slices (B, 1, S, S) to vectors (B, numbers) of length one."""

    def __init__(self, settings: SliceEncoderSettings, side: int) -> None:
        super().__init__()
        first, *_ = settings.widths
        layers: list[nn.Module] = [nn.Conv2d(1, first, settings.patch, stride=settings.patch)]
        for before, after in pairwise(settings.widths):
            layers += [
                nn.GroupNorm(settings.norm_groups, before),
                nn.ReLU(),
                nn.Conv2d(before, after, 3, stride=2, padding=1),
            ]
        layers += [nn.GroupNorm(settings.norm_groups, settings.widths[-1]), nn.ReLU(), nn.Flatten()]
        self.features = nn.Sequential(*layers)
        left = side // settings.patch
        for _ in settings.widths[1:]:
            left = (left + 1) // 2
        self.head = nn.Linear(settings.widths[-1] * left**2, settings.numbers)

    def forward(self, slices: Tensor) -> Tensor:
        """The vectors."""
        return functional.normalize(self.head(self.features(slices)), dim=1)
