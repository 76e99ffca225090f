"""Slabs of a few slices through 2-D networks: the slices are channels, [b, c, s, h, w] becomes [b, c s, h, w].

Favero et al., arXiv 2508.07006 (2025), section 2. Two networks:

    Pseudo2DUNet         from a noisy slab, its noise level and a treatment arm to the raw output: MONAI's
                         DiffusionModelUNet
    Pseudo2DControlNet   a copy of its encoder that sees images too: MONAI's ControlNet (Zhang et al. 2023). What it
                         says passes convolutions that start at zero and is added to the UNet's skips and middle, so
                         that an untrained ControlNet changes no bit of the output

An arm is a class, whose embedding is added to that of the noise level (Dhariwal and Nichol 2021). The class after the
last arm is the null arm: no treatment known. With `cross_attention` the levels that attend hold transformer blocks,
which attend to a token of the arm as well. The noise level enters as in msdiff.networks.conditional_unet.
"""

from typing import Any, NamedTuple

from monai.networks.nets.controlnet import ControlNet
from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet
from torch import Tensor, nn

from msdiff.networks.conditional_unet import Count, UNetSettings, embedding_time
from msdiff.networks.padding import pad_to_multiple

# What the ControlNet says: one tensor for each skip of the UNet, and one for its middle.
Residuals = tuple[list[Tensor], Tensor]


class Pseudo2DSettings(UNetSettings):
    """Sizes of UNet and ControlNet.

    cross_attention     width of the arm's token that transformer blocks attend to, or null for plain self-attention
    transformer_layers  per block with attention; without meaning where cross_attention is null
    condition_channels  of the convolutions that read the ControlNet's images
    """

    cross_attention: Count | None
    transformer_layers: Count
    condition_channels: Count


class SlabSizes(NamedTuple):
    """What slabs hold: slices, channels that are generated, channels of images that are given, and arms."""

    slices: int
    generated: int
    images: int
    arms: int


def folded(slab: Tensor) -> Tensor:
    """A slab (B, C, S, H, W) with its slices as channels, (B, C S, H, W)."""
    return slab.flatten(1, 2)


def unfolded(image: Tensor, slices: int) -> Tensor:
    """The slab (B, C, S, H, W) that `folded` made an image (B, C S, H, W) of."""
    return image.reshape(len(image), -1, slices, *image.shape[2:])


class Pseudo2DUNet(nn.Module):
    """Denoiser of slabs; sides that the levels do not divide are padded inside. Untrained, it says zero."""

    def __init__(self, settings: Pseudo2DSettings, sizes: SlabSizes) -> None:
        super().__init__()
        self.multiple = 2 ** (len(settings.channels) - 1)
        channels = sizes.generated * sizes.slices
        self.unet = DiffusionModelUNet(out_channels=channels, **_options(settings, channels, sizes.arms))
        self.tokens = _tokens(settings, sizes.arms)

    def forward(self, z: Tensor, logsnr: Tensor, arm: Tensor, residuals: Residuals | None = None) -> Tensor:
        """Raw output (B, C, S, H, W) for noisy slabs z, logsnr (B,) and arms (B,), with what a ControlNet adds."""
        skips, middle = residuals or (None, None)
        output = self.unet(
            pad_to_multiple(folded(z), self.multiple),
            embedding_time(logsnr),
            context=_context(self.tokens, arm),
            class_labels=arm,
            down_block_additional_residuals=skips,
            mid_block_additional_residual=middle,
        )
        return unfolded(output[..., : z.shape[-2], : z.shape[-1]], z.shape[2])


class Pseudo2DControlNet(nn.Module):
    """What images say of a noisy slab, to be added to the UNet's skips and middle.

    Images are the same at every noise level, so that they are embedded once for all steps.
    """

    def __init__(self, settings: Pseudo2DSettings, sizes: SlabSizes) -> None:
        super().__init__()
        self.multiple = 2 ** (len(settings.channels) - 1)
        self.control = ControlNet(
            # One width alone: more would halve the images, which have the slab's size.
            conditioning_embedding_in_channels=sizes.images * sizes.slices,
            conditioning_embedding_num_channels=(settings.condition_channels,),
            **_options(settings, sizes.generated * sizes.slices, sizes.arms),
        )
        self.embedding = self.control.controlnet_cond_embedding
        self.control.register_module("controlnet_cond_embedding", nn.Identity())
        self.tokens = _tokens(settings, sizes.arms)

    def start_from(self, unet: Pseudo2DUNet) -> None:
        """Copy the encoder of a UNet of the same settings, embeddings and middle included."""
        found = unet.unet.state_dict()
        own = {name: found[name] for name in self.control.state_dict() if name in found}
        missing = self.control.load_state_dict(own, strict=False).missing_keys
        assert all(name.startswith("controlnet_") for name in missing), missing
        if self.tokens is not None and unet.tokens is not None:
            self.tokens.load_state_dict(unet.tokens.state_dict())

    def embed(self, images: Tensor) -> Tensor:
        """Features of the first level from images (B, K, S, H, W); zero before training."""
        features: Tensor = self.embedding(pad_to_multiple(folded(images), self.multiple))
        return features

    def forward(self, z: Tensor, logsnr: Tensor, arm: Tensor, embedded: Tensor) -> Residuals:
        """Residuals for noisy slabs z (B, C, S, H, W), logsnr (B,), arms (B,) and embedded images."""
        skips, middle = self.control(
            pad_to_multiple(folded(z), self.multiple),
            embedding_time(logsnr),
            controlnet_cond=embedded,
            context=_context(self.tokens, arm),
            class_labels=arm,
        )
        return skips, middle


class ControlledUNet(nn.Module):
    """Both networks as one: raw output (B, C, S, H, W) for noisy slabs, noise level, arms and embedded images."""

    def __init__(self, settings: Pseudo2DSettings, sizes: SlabSizes) -> None:
        super().__init__()
        self.prior = Pseudo2DUNet(settings, sizes)
        self.control = Pseudo2DControlNet(settings, sizes)

    def forward(self, z: Tensor, logsnr: Tensor, arm: Tensor, embedded: Tensor) -> Tensor:
        """As `Pseudo2DUNet.forward`, with what `Pseudo2DControlNet.embed` made of the images."""
        output: Tensor = self.prior(z, logsnr, arm, self.control(z, logsnr, arm, embedded))
        return output


def _options(settings: Pseudo2DSettings, channels: int, arms: int) -> dict[str, Any]:
    """What MONAI's UNet and ControlNet are built with alike."""
    return {
        "spatial_dims": 2,
        "in_channels": channels,
        "num_res_blocks": settings.residual_blocks,
        "channels": settings.channels,
        "attention_levels": settings.attention,
        "norm_num_groups": settings.norm_groups,
        "num_head_channels": settings.head_channels,
        "with_conditioning": settings.cross_attention is not None,
        "cross_attention_dim": settings.cross_attention,
        "transformer_num_layers": settings.transformer_layers,
        "num_class_embeds": arms + 1,
        "use_flash_attention": True,
    }


def _tokens(settings: Pseudo2DSettings, arms: int) -> nn.Embedding | None:
    """The token of every arm and of the null arm, where transformer blocks attend to it."""
    return None if settings.cross_attention is None else nn.Embedding(arms + 1, settings.cross_attention)


def _context(tokens: nn.Embedding | None, arm: Tensor) -> Tensor | None:
    return None if tokens is None else tokens(arm)[:, None]
