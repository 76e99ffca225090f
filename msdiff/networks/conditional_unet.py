"""The denoising network: a UNet that sees a noisy image or volume, its noise level, and conditions of the same size.

MONAI's DiffusionModelUNet (after Rombach et al. 2022 and Ho et al. 2020), conditions concatenated to its input. With
channels (128, 128, 256, 256, 512, 512), two residual blocks and attention on the last two levels it is the 256 x 256
network of Nichol and Dhariwal 2021, without their scale-shift normalisation: 118.9 million parameters.

The noise level enters as 1000 (2 / pi) arctan(exp(-logsnr / 2)), which is 1000 t of the cosine schedule: the range that
the sinusoidal embedding of DDPM is made for, whatever the schedule, and finite for a clean image.
"""

import math
from typing import Annotated, Literal, Self

import torch
from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet
from pydantic import Field, model_validator
from torch import Tensor, nn

from msdiff.networks.padding import cropped, pad_to_multiple
from msdiff.settings import Settings

Count = Annotated[int, Field(ge=1)]


class UNetSettings(Settings):
    """Sizes of a UNet.

    channels            of each level; every level but the last halves the image
    residual_blocks     per level
    attention           whether each level has self-attention
    head_channels       of one attention head; divides the channels of each level with attention
    norm_groups         of the group normalisation; divides the channels of each level
    """

    channels: Annotated[tuple[Count, ...], Field(min_length=1)]
    residual_blocks: Count
    attention: tuple[bool, ...]
    head_channels: Count
    norm_groups: Count

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if len(self.attention) != len(self.channels):
            raise ValueError(f"attention needs one value per level, {len(self.channels)}, got {len(self.attention)}")
        if any(channels % self.norm_groups for channels in self.channels):
            raise ValueError(f"norm_groups {self.norm_groups} must divide all channels {self.channels}")
        # The middle block always attends, on the channels of the last level.
        attending = [c for c, attends in zip(self.channels, self.attention, strict=True) if attends]
        if any(channels % self.head_channels for channels in [*attending, self.channels[-1]]):
            raise ValueError(
                f"head_channels {self.head_channels} must divide the channels of the levels with attention and of "
                f"the last, {self.channels}"
            )
        return self


class ConditionalUNetSettings(UNetSettings):
    """Sizes of the network.

    in_channels         noisy image and all conditions together
    out_channels        one, or two where the variance is learned
    """

    in_channels: Count
    out_channels: Count


class ConditionalUNet(nn.Module):
    """Denoiser of images of any size: sides that the levels do not divide are padded inside and cropped again.

    With `spatial_dims` 2 it takes images (B, C, H, W), with 3 volumes (B, C, D, H, W). The last convolution starts at
    zero, so an untrained network says zero.
    """

    def __init__(self, settings: ConditionalUNetSettings, spatial_dims: Literal[2, 3] = 2) -> None:
        super().__init__()
        self.settings = settings
        self.unet = DiffusionModelUNet(
            spatial_dims=spatial_dims,
            in_channels=settings.in_channels,
            out_channels=settings.out_channels,
            num_res_blocks=settings.residual_blocks,
            channels=settings.channels,
            attention_levels=settings.attention,
            norm_num_groups=settings.norm_groups,
            num_head_channels=settings.head_channels,
            use_flash_attention=True,
        )

    def forward(self, z: Tensor, logsnr: Tensor, condition: Tensor) -> Tensor:
        """Raw output (B, out, ...) for noisy images z (B, C, ...), logsnr (B,) and conditions (B, K, ...)."""
        joined = torch.cat([z, condition.to(z.dtype)], dim=1)
        padded = pad_to_multiple(joined, 2 ** (len(self.settings.channels) - 1))
        output: Tensor = self.unet(padded, embedding_time(logsnr))
        return cropped(output, z)


def embedding_time(logsnr: Tensor) -> Tensor:
    """Noise level (B,) as time in [0, 1000] for a sinusoidal embedding: 1000 t of the cosine schedule."""
    return torch.atan(torch.exp(-logsnr.float() / 2)) * (2000 / math.pi)
