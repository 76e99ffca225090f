from typing import Any

import pytest
import torch

from msdiff.config_files import merged_config
from msdiff.errors import BadSettings
from msdiff.networks.pseudo_2d import ControlledUNet, Pseudo2DSettings, SlabSizes, folded, unfolded
from msdiff.settings import check

SMALL: dict[str, Any] = {
    "channels": [8, 16],
    "residual_blocks": 1,
    "attention": [False, True],
    "head_channels": 8,
    "norm_groups": 4,
    "cross_attention": None,
    "transformer_layers": 1,
    "condition_channels": 4,
}
SIZES = SlabSizes(slices=3, generated=2, images=4, arms=3)
CROSS = {"cross_attention": 6}


def build(sizes: SlabSizes = SIZES, **changes: Any) -> ControlledUNet:
    """Small networks; the last layer of the UNet, which starts at zero, holds something."""
    torch.manual_seed(0)
    network = ControlledUNet(check(Pseudo2DSettings, SMALL | changes), sizes)
    for parameter in network.prior.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    network.control.start_from(network.prior)
    return network.eval()


def inputs(batch: int = 2, height: int = 8, width: int = 8) -> tuple[torch.Tensor, ...]:
    rng = torch.Generator().manual_seed(1)
    z = torch.randn(batch, 2, 3, height, width, generator=rng)
    images = torch.randn(batch, 4, 3, height, width, generator=rng)
    return z, torch.linspace(-5, 5, batch), torch.arange(batch) % 4, images


def said_by(
    network: ControlledUNet, z: torch.Tensor, logsnr: torch.Tensor, arm: torch.Tensor, images: torch.Tensor
) -> torch.Tensor:
    output: torch.Tensor = network(z, logsnr, arm, network.control.embed(images))
    return output


def awake(network: ControlledUNet) -> ControlledUNet:
    """The network with something in the weights of the ControlNet that start at zero."""
    for parameter in network.control.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    return network


@pytest.mark.parametrize("model", ["two_sessions", "pre_treatment"])
@pytest.mark.parametrize("generated", [1, 2])
def test_the_papers_preset_has_589_million_parameters(model: str, generated: int) -> None:
    config = merged_config(size="paper")["forecasting"]
    assert config["network"]["backend"] == "favero_589m"
    sessions = len(config["models"][model]["sessions"])
    # The images of every session, and the NET2 mask of the second.
    images = len(config["slabs"]["images"]) * sessions + sessions - 1
    sizes = SlabSizes(config["slabs"]["slices"], generated, images, len(config["arms"]))
    with torch.device("meta"):
        network = ControlledUNet(check(Pseudo2DSettings, config["network"]["favero_589m"]), sizes)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == pytest.approx(589e6, rel=0.03)
    if (model, generated) == ("two_sessions", 1):
        assert count == 590_746_127


def test_slices_become_channels_and_come_back() -> None:
    slab = torch.arange(2 * 3 * 4 * 5 * 6).reshape(2, 3, 4, 5, 6)
    image = folded(slab)
    assert image.shape == (2, 12, 5, 6)
    # Slice 1 of channel 2 of four slices is channel 9.
    assert torch.equal(image[:, 9], slab[:, 2, 1])
    assert torch.equal(unfolded(image, slices=4), slab)


@pytest.mark.parametrize("changes", [{}, CROSS], ids=["plain", "transformer"])
def test_an_untrained_control_net_changes_no_bit(changes: dict[str, Any]) -> None:
    network = build(**changes)
    z, logsnr, arm, images = inputs(4)
    alone = network.prior(z, logsnr, arm)
    assert alone.any()
    assert torch.equal(said_by(network, z, logsnr, arm, images), alone)
    assert not torch.equal(said_by(awake(network), z, logsnr, arm, images), alone)


@pytest.mark.parametrize("changes", [{}, CROSS], ids=["plain", "transformer"])
def test_the_control_net_starts_from_the_encoder(changes: dict[str, Any]) -> None:
    network = build(**changes)
    encoder = network.prior.unet.state_dict()
    copied = {name: value for name, value in network.control.control.state_dict().items() if name in encoder}
    assert all(torch.equal(value, encoder[name]) for name, value in copied.items())
    parts = {name.split(".")[0] for name in copied}
    assert parts == {"conv_in", "time_embed", "class_embedding", "down_blocks", "middle_block"}
    with torch.no_grad():
        network.control.control.conv_in.conv.weight.add_(1)
    assert torch.equal(encoder["conv_in.conv.weight"], network.prior.unet.conv_in.conv.weight)
    assert not torch.equal(encoder["conv_in.conv.weight"], network.control.control.conv_in.conv.weight)


@pytest.mark.parametrize("changes", [{}, CROSS], ids=["plain", "transformer"])
def test_arms_images_noise_level_and_every_slice_matter(changes: dict[str, Any]) -> None:
    network = awake(build(**changes))
    z, logsnr, arm, images = inputs(1)
    said = said_by(network, z, logsnr, arm, images)
    null = torch.tensor([SIZES.arms])
    others = {
        "arm": (z, logsnr, arm + 1, images),
        "null arm": (z, logsnr, null, images),
        "images": (z, logsnr, arm, torch.zeros_like(images)),
        "noise level": (z, logsnr + 1, arm, images),
    }
    for name, other in others.items():
        assert not torch.allclose(said_by(network, *other), said), name
    moved = z.clone()
    moved[:, 0, 0] += 1
    # A change of one slice reaches all of them.
    assert ((said_by(network, moved, logsnr, arm, images) - said).abs().amax((0, 1, 3, 4)) > 0).all()


@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 9)])
def test_any_size_comes_back(height: int, width: int) -> None:
    z, logsnr, arm, images = inputs(2, height, width)
    assert said_by(awake(build()), z, logsnr, arm, images).shape == z.shape


def test_only_the_first_step_of_zero_convolutions_moves() -> None:
    """Gradients reach the zero convolutions at once, what lies behind them only when these are something."""
    network = build()
    z, logsnr, arm, images = inputs()
    network.prior.requires_grad_(False)
    said_by(network, z, logsnr, arm, images).square().sum().backward()
    gradients = {name: parameter.grad for name, parameter in network.control.named_parameters()}
    for name, gradient in gradients.items():
        reached = gradient is not None and bool(gradient.any())
        assert reached == ("controlnet_down_blocks" in name or "controlnet_mid_block" in name), name
    assert all(parameter.grad is None for parameter in network.prior.parameters())


def test_unfitting_sizes_are_refused() -> None:
    with pytest.raises(BadSettings, match="norm_groups 5"):
        check(Pseudo2DSettings, SMALL | {"norm_groups": 5})
