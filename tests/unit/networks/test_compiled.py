import shutil

import pytest
import torch
from torch import nn

from msdiff.networks.compiled import compiled
from msdiff.networks.conditional_unet import ConditionalUNet, ConditionalUNetSettings

CPU = torch.device("cpu")
# One level: the compiler takes two seconds for each kernel. test_follow_ups.py compiles a network of several.
SIZES = ConditionalUNetSettings(
    in_channels=6, out_channels=2, channels=(8,), residual_blocks=1, attention=(False,), head_channels=8, norm_groups=4
)


def gradients(network, loss):
    network.zero_grad()
    loss.backward()
    return [parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_network_agrees_with_the_plain_one_within_rounding():
    torch.manual_seed(0)
    network = ConditionalUNet(SIZES).to(memory_format=torch.channels_last)
    # The last layer starts at zero, where every gradient below it vanishes.
    nn.init.normal_(list(network.parameters())[-2])
    inputs = torch.randn(2, 1, 16, 16), torch.tensor([-1.0, 3.0]), torch.randn(2, 5, 16, 16)
    state = torch.get_rng_state()
    call = compiled(network, "always", CPU, lambda call: call(*inputs).sum().backward())
    assert torch.equal(torch.get_rng_state(), state)
    assert call is not None
    plain, fast = network(*inputs), call(*inputs)
    torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-5)
    # The balance of gradient norms goes through the graph twice.
    last = list(network.parameters())[-2]
    for output in (plain, fast):
        torch.autograd.grad(output.square().mean(), last, retain_graph=True)
    for one, other in zip(
        gradients(network, plain.square().mean()), gradients(network, fast.square().mean()), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("when", ["never", "accelerator"])
def test_on_the_cpu_a_network_is_left_as_it_is_unless_told(when):
    assert compiled(nn.Identity(), when, CPU, pytest.fail) is None


# Torch's compiler is imported here, and that import warns of torch's own code.
@pytest.mark.filterwarnings("ignore:.*script_method.*:DeprecationWarning")
def test_where_the_compiler_fails_one_warning_is_given(caplog):
    def broken(call):
        raise RuntimeError("no compiler here\nand much more")

    assert compiled(nn.Identity(), "always", CPU, broken) is None
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "cannot compile" in record.getMessage()
    assert "\n" not in record.getMessage()
