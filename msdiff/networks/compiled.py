"""A network compiled by torch, where that helps and works.

On an accelerator a compiled network fuses normalisation, activation and addition into few kernels and spares the
memory's bandwidth. Shapes are static: every size of batch is compiled once, in a minute or two. A compiler may be
missing or fail (Triton and a C compiler are needed at run time); then the network runs as it is, after one warning.
Compiled and plain calls agree within rounding.
"""

import logging
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from msdiff.networks.batches import in_batches

log = logging.getLogger(__name__)

Call = Callable[..., Tensor]
# Whether to compile: not at all, where an accelerator computes, or on the CPU too.
When = Literal["never", "accelerator", "always"]
# Of a compiled network's result, relative to the largest value: bfloat16 has 8 bits.
LARGEST_ERROR = 0.1
WHEN: tuple[When, ...] = ("never", "accelerator", "always")


def compiled(
    network: nn.Module, when: When, device: torch.device, trial: Callable[[Call], object], mode: str | None = None
) -> Call | None:
    """The network's call, compiled; None where that is not asked for or the compiler fails: call the network as it is.

    Parameters
    ----------
    network
        On its device, in the memory format it is used in.
    trial
        Calls what it is given as it will be used: sizes, precision, and a backward pass where it is trained. It comes
        before the first real use, for the compiler works, and fails, at the first call only.
    mode
        Of torch.compile: "reduce-overhead" replays a recorded graph on a GPU, whose result the next call overwrites.
    """
    if when == "never" or (when == "accelerator" and device.type == "cpu"):
        return None
    # A second of imports, for those alone who compile.
    from torch._dynamo.exc import TorchDynamoException
    from torch._functorch import config as functorch

    # Gradients at the last layer alone (balance gradient_norm) go through the graph twice; for good, or a graph that is
    # compiled later would lack it.
    functorch.donated_buffer = False
    call: Call = torch.compile(network.forward, dynamic=False, mode=mode)
    try:
        with torch.random.fork_rng(devices=[]):
            trial(call)
    except (TorchDynamoException, RuntimeError, OSError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        log.warning("cannot compile the network, which goes on without (%s)", reason[0])
        torch.compiler.reset()
        return None
    return call


def compiled_for_sampling(network: nn.Module, when: When, size: int | None, *inputs: Tensor) -> Call | None:
    """The network's call, compiled for batches like these inputs (B, ...) in parts of `size` (None: whole), or None.

    In evaluation mode and without gradients; on a GPU a recorded graph is replayed. A compiled network whose result is
    another than the plain one's is not used.
    """
    device = inputs[0].device
    rows = size or len(inputs[0])

    def trial(call: Call) -> None:
        # A graph is recorded at the second call and replayed from the third on.
        fast = [in_batches(call, rows, *inputs).clone() for _ in range(3)][-1]
        plain = in_batches(network, rows, *inputs)
        if (fast - plain).abs().max() > LARGEST_ERROR * plain.abs().max():
            raise RuntimeError("its result is another than the plain network's")

    with torch.no_grad():
        call = compiled(network, when, device, trial, "reduce-overhead" if device.type == "cuda" else None)
    # The next replay of the graph overwrites the result of this one.
    return None if call is None else lambda *given: call(*given).clone()
