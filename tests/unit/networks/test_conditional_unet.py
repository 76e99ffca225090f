import math
from typing import Any, Literal

import pytest
import torch

from msdiff.diffusion import noise
from msdiff.errors import BadSettings
from msdiff.networks.conditional_unet import ConditionalUNet, ConditionalUNetSettings, embedding_time
from msdiff.settings import check

PAPER: dict[str, Any] = {
    "in_channels": 6,
    "out_channels": 2,
    "channels": [128, 128, 256, 256, 512, 512],
    "residual_blocks": 2,
    "attention": [False, False, False, False, True, True],
    "head_channels": 64,
    "norm_groups": 32,
}
SMALL: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 1,
    "channels": [8, 16],
    "residual_blocks": 1,
    "attention": [False, True],
    "head_channels": 8,
    "norm_groups": 4,
}


def build(options: dict[str, Any], spatial_dims: Literal[2, 3] = 2) -> ConditionalUNet:
    torch.manual_seed(0)
    return ConditionalUNet(check(ConditionalUNetSettings, options), spatial_dims)


def awake(network: ConditionalUNet) -> ConditionalUNet:
    """The network with something in the weights that start at zero."""
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    return network.eval()


def test_paper_size_has_its_parameters():
    with torch.device("meta"):
        network = build(PAPER)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == 118_933_762  # 118.9 M


def test_starts_by_saying_zero():
    output = build(SMALL)(torch.randn(2, 1, 16, 16), torch.zeros(2), torch.randn(2, 2, 16, 16))
    assert output.shape == (2, 1, 16, 16)
    assert not output.any()


@pytest.mark.parametrize(("height", "width"), [(16, 16), (15, 16), (9, 11)])
def test_any_size_comes_back(height, width):
    network = awake(build(SMALL))
    output = network(torch.randn(1, 1, height, width), torch.zeros(1), torch.randn(1, 2, height, width))
    assert output.shape == (1, 1, height, width)


@pytest.mark.parametrize("shape", [(8, 8, 8), (3, 9, 6)])
def test_volumes_of_any_size_come_back_and_start_at_zero(shape):
    volume, condition = torch.randn(2, 1, *shape), torch.randn(2, 2, *shape)
    output = build(SMALL, spatial_dims=3)(volume, torch.zeros(2), condition)
    assert output.shape == volume.shape
    assert not output.any()
    with torch.no_grad():
        output = awake(build(SMALL, spatial_dims=3))(volume, torch.zeros(2), condition)
    assert output.shape == volume.shape
    assert output.std() > 0


@pytest.mark.parametrize("shape", [(7, 9), (3, 7, 9)])
def test_symmetric_kernels_give_a_mirrored_output_for_a_mirrored_input(shape):
    # One level: halving takes other voxels from the other side.
    network = awake(build({**SMALL, "channels": [16], "attention": [True]}, spatial_dims=2 if len(shape) == 2 else 3))
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 2 + len(shape):
                parameter.copy_((parameter + parameter.flip(-1)) / 2)
        z, condition = torch.randn(1, 1, *shape), torch.randn(1, 2, *shape)
        output = network(z, torch.zeros(1), condition)
        mirrored = network(z.flip(-1), torch.zeros(1), condition.flip(-1))
    torch.testing.assert_close(mirrored.flip(-1), output, rtol=1e-4, atol=1e-5)


def test_every_input_matters():
    network = awake(build(SMALL))
    z, logsnr, condition = torch.randn(1, 1, 16, 16), torch.zeros(1), torch.randn(1, 2, 16, 16)
    with torch.no_grad():
        output = network(z, logsnr, condition)
        for changed in ((z + 1, logsnr, condition), (z, logsnr + 1, condition), (z, logsnr, condition + 1)):
            assert not torch.allclose(network(*changed), output, atol=1e-4)


def test_time_is_a_thousand_times_that_of_the_cosine_schedule():
    t = torch.linspace(0.01, 0.99, 50)
    options = {"offset": 0.0, "logsnr_min": -20.0, "logsnr_max": 20.0}
    torch.testing.assert_close(embedding_time(noise.load_schedule("cosine", options)(t)), 1000 * t)


def test_time_of_clean_and_of_noise_is_finite():
    assert embedding_time(torch.tensor([math.inf, -math.inf])).tolist() == pytest.approx([0, 1000])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attention": [True]}, "attention needs one value per level, 2, got 1"),
        ({"norm_groups": 3}, "norm_groups 3 must divide all channels"),
        ({"head_channels": 5}, "head_channels 5 must divide"),
        ({"channels": []}, "channels"),
        ({"dropout": 0.1}, "unknown key 'dropout'"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(change, message):
    with pytest.raises(BadSettings, match=message):
        build({**SMALL, **change})


@pytest.mark.slow
def test_paper_size_trains_a_step():
    network = build(PAPER)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4)
    z, condition = torch.randn(1, 1, 64, 64), torch.randn(1, 5, 64, 64)
    before = network(z, torch.zeros(1), condition)
    before.sub(1).square().mean().backward()
    optimiser.step()
    with torch.no_grad():
        after = network(z, torch.zeros(1), condition)
    assert not before.any()
    assert torch.isfinite(after).all()
    assert after.any()
