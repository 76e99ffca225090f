import json

import numpy as np
import pytest
import torch
from torch.nn import functional

from msdiff.errors import BadInput
from msdiff.networks.synthseg_unet import SynthSegSettings, SynthSegUNet
from msdiff.networks.weights import sha256
from msdiff.parcellation.keras_weights import build, export, load_published
from msdiff.parcellation.synthseg_network import read_weights, size_of

h5py = pytest.importorskip("h5py")


@pytest.fixture
def small():
    network = SynthSegUNet(SynthSegSettings(features=2, levels=3, convolutions=2), np.full(33, 1 / 33), 0)
    for name, buffer in network.named_buffers():
        if buffer.is_floating_point():
            torch.nn.init.uniform_(buffer, 0.5, 1.5, generator=torch.Generator().manual_seed(len(name)))
    description = {
        "network": {"features": 2, "levels": 3, "convolutions": 2},
        "labels": list(range(33)),
        "spacing_mm": 1.5,
        "storage": "float32",
    }
    return network.eval(), description


def test_reader_finds_the_published_network(small, tmp_path):
    network, description = small
    path = tmp_path / "weights.h5"
    export(network.state_dict(), description, path)
    weights = read_weights(path)
    assert tuple(size_of(weights, path)) == (2, 3, 2, 33)
    kernel = weights["unet_conv_uparm_3_0"]["kernel"]
    # Two thirds of the maps come from below, after those of the skip.
    assert kernel.shape == (3, 3, 3, 8 + 4, 4)
    first = network.up[0][0]
    assert kernel[0, 1, 2, 5, 3] == pytest.approx(float(first.weight.detach()[3, 5, 0, 1, 2]) * first.factor)
    norm = network.down_norms[1]
    assert np.array_equal(weights["unet_bn_down_1"]["moving_variance"], norm.running_var.numpy())


def test_exported_kernels_do_what_the_layer_does(small, tmp_path):
    network, description = small
    export(network.state_dict(), description, tmp_path / "weights.h5")
    layer = read_weights(tmp_path / "weights.h5")["unet_conv_downarm_0_0"]
    image = torch.rand(1, 1, 8, 8, 8)
    kernel = torch.from_numpy(layer["kernel"]).permute(4, 3, 0, 1, 2)
    expected = functional.conv3d(image, kernel, torch.from_numpy(layer["bias"]), padding=1)
    assert torch.allclose(network.down[0][0](image), expected, atol=1e-6)


def test_description_stands_beside_the_weights_and_is_true(small, tmp_path):
    network, description = small
    path = tmp_path / "weights.h5"
    export(network.state_dict(), description, path)
    told = json.loads(path.with_suffix(".json").read_text())
    assert told == description | {"sha256": sha256(path)}


def test_same_weights_same_file(small, tmp_path):
    network, description = small
    for name in ("a.h5", "b.h5"):
        export(network.state_dict(), description, tmp_path / name)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_half_precision_halves_the_kernels_only(small, tmp_path):
    network, description = small
    export(network.state_dict(), description | {"storage": "float16"}, tmp_path / "weights.h5")
    with h5py.File(tmp_path / "weights.h5") as file:
        assert file["unet_likelihood/unet_likelihood/kernel:0"].dtype == np.float16
        assert file["unet_likelihood/unet_likelihood/bias:0"].dtype == np.float32
        assert list(file["unet_bn_up_1"].attrs["weight_names"]) == [
            f"unet_bn_up_1/{kind}:0".encode() for kind in ("gamma", "beta", "moving_mean", "moving_variance")
        ]


def test_described_network_is_built_again(small):
    network, description = small
    image = torch.rand(1, 1, 8, 8, 8)
    again = build(network.state_dict(), description)
    with torch.no_grad():
        assert torch.equal(again(image), network(image))


def test_exported_file_is_read_back(small, tmp_path):
    network, description = small
    path = tmp_path / "weights.h5"
    export(network.state_dict(), description, path)
    again, told = load_published(path)
    image = torch.rand(1, 1, 8, 8, 8)
    with torch.no_grad():
        assert torch.allclose(again(image), network(image), atol=1e-5)
    assert told["spacing_mm"] == 1.5
    path.with_suffix(".json").unlink()
    with pytest.raises(BadInput, match="no such description"):
        load_published(path)
