import numpy as np
import pytest
import torch

from msdiff.networks.synthseg_unet import SynthSegSettings, SynthSegUNet


def network(frozen_after=1000, features=2, levels=3, labels=5):
    torch.manual_seed(0)
    settings = SynthSegSettings(features=features, levels=levels, convolutions=2)
    return SynthSegUNet(settings, np.full(labels, 1 / labels), frozen_after)


def test_published_size_has_the_published_number_of_weights():
    tensors = network(features=24, levels=5, labels=33).published()
    # synthseg_2.0.h5 has 53,079,152 bytes: these weights in single precision, and 100 kB of HDF5.
    assert 4 * sum(tensor.numel() for layer in tensors.values() for tensor in layer.values()) == 52_971_396
    assert list(tensors)[:3] == ["unet_conv_downarm_0_0", "unet_conv_downarm_0_1", "unet_bn_down_0"]
    assert list(tensors)[-3:] == ["unet_conv_uparm_8_1", "unet_bn_up_3", "unet_likelihood"]


def test_sides_are_kept_and_labels_are_channels():
    assert network()(torch.rand(2, 1, 8, 12, 16)).shape == (2, 5, 8, 12, 16)


def test_untrained_network_gives_the_frequencies():
    frequencies = np.array([0.7, 0.2, 0.05, 0.04, 0.01])
    torch.manual_seed(0)
    settings = SynthSegSettings(features=8, levels=3, convolutions=2)
    posteriors = torch.softmax(SynthSegUNet(settings, frequencies, 10)(torch.rand(1, 1, 16, 16, 16)), dim=1)
    assert posteriors.mean(dim=(0, 2, 3, 4)).detach().numpy() == pytest.approx(frequencies, rel=0.35)


def test_norms_keep_their_statistics_after_the_given_number_of_batches():
    net = network(frozen_after=2).train()
    seen = []
    for _ in range(4):
        net(torch.rand(1, 1, 8, 8, 8))
        seen.append(net.down_norms[0].running_mean.clone())
    assert not torch.equal(seen[0], seen[1])
    assert torch.equal(seen[1], seen[3])
    image = torch.rand(1, 1, 8, 8, 8)
    with torch.no_grad():
        # From then on training sees what inference sees.
        assert torch.equal(net(image), net.eval()(image))


def test_frozen_norms_still_learn_their_scale():
    net = network(frozen_after=0).train()
    net(torch.rand(1, 1, 8, 8, 8)).square().mean().backward()
    assert net.down_norms[0].weight.grad.abs().sum() > 0
    assert net.down_norms[0].num_batches_tracked == 0


def test_a_layer_scales_its_weights_to_keep_the_spread():
    layer = network(features=16).down[2][0]
    assert float(layer.weight.detach().std()) == pytest.approx(1, rel=0.02)
    assert float((layer.weight * layer.factor).detach().std()) == pytest.approx((2 / (32 * 27)) ** 0.5, rel=0.02)
