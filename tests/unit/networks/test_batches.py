import numpy as np
import pytest
import torch

from msdiff.networks.batches import batches, in_batches
from msdiff.networks.conditional_unet import ConditionalUNet, ConditionalUNetSettings
from msdiff.settings import check

OPTIONS = {
    "in_channels": 6,
    "out_channels": 1,
    "channels": [16, 32, 64, 64],
    "residual_blocks": 1,
    "attention": [False, False, False, True],
    "head_channels": 32,
    "norm_groups": 16,
}
ROWS = 5


@pytest.fixture(params=[torch.contiguous_format, torch.channels_last], ids=["contiguous", "channels_last"])
def network(request):
    torch.manual_seed(0)
    unet = ConditionalUNet(check(ConditionalUNetSettings, OPTIONS))
    for parameter in unet.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    return unet.eval().to(memory_format=request.param)


@pytest.mark.parametrize("size", [1, 8])
def test_a_sample_has_the_same_bits_whatever_stands_beside_it(network, size):
    inputs = torch.randn(ROWS, 1, 64, 64), torch.linspace(-6, 6, ROWS), torch.randn(ROWS, 5, 64, 64)
    with torch.no_grad():
        together = in_batches(network, size, *inputs)
        for batch in (1, 3):
            pieces = [
                in_batches(network, size, *(tensor[start : start + batch] for tensor in inputs))
                for start in range(0, ROWS, batch)
            ]
            assert torch.equal(torch.cat(pieces), together)
        torch.testing.assert_close(together, network(*inputs), rtol=1e-4, atol=1e-4)


def test_function_sees_batches_of_one_size_only():
    seen = []

    def watch(rows):
        seen.append(rows.tolist())
        return 10 * rows

    assert in_batches(watch, 4, torch.arange(6)).tolist() == [0, 10, 20, 30, 40, 50]
    assert seen == [[0, 1, 2, 3], [4, 5, 5, 5]]


@pytest.mark.parametrize("of_one_size", [True, False])
def test_batches_hold_every_sample_and_hardly_one_twice(of_one_size):
    for samples in range(1, 40):
        for largest in range(1, 12):
            parts = batches(samples, largest, of_one_size)
            assert len({len(part) for part in parts}) == 1 or not of_one_size
            assert max(map(len, parts)) <= largest
            assert np.unique(np.concatenate(parts)).tolist() == list(range(samples))
            assert sum(map(len, parts)) - samples < (len(parts) if of_one_size else 1)
    assert batches(0, 8, of_one_size) == []
