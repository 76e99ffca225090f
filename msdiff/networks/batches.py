"""The same bits for a sample whatever stands beside it.

The matrix products and convolutions of a batch of one are done by other kernels than those of a batch of eight, and
round otherwise (on the CPU, in float32, by about 1e-6). In batches of one fixed size every sample is computed alike, at
any place in the batch: tests/unit/networks/test_batches.py holds this for the sizes in use. It holds for one number of
threads; an even size also keeps the bits when two threads take a half each.
"""

from collections.abc import Callable

import torch
from torch import Tensor

# Rows of a batch on a CPU.
CPU_BATCH = 4


def batch_size(device: torch.device) -> int | None:
    """The size of all batches that samples are drawn in, None where a batch may be of any size: on an accelerator."""
    return CPU_BATCH if device.type == "cpu" else None


def in_batches(function: Callable[..., Tensor], size: int, *inputs: Tensor) -> Tensor:
    """function(*inputs) (B, ...), computed on batches of exactly `size`; the last is filled up by repeating its end.

    Parameters
    ----------
    function
        Treats each row of its inputs by itself, as a network in evaluation mode does.
    size
        Rows computed at once, at least 1. It may change the last bits of the result, so take one size for all shards.
    inputs
        (B, ...) each, B at least 1.
    """
    rows = len(inputs[0])
    results = []
    for start in range(0, rows, size):
        parts = [tensor[start : start + size] for tensor in inputs]
        missing = size - len(parts[0])
        if missing:
            parts = [torch.cat([part, part[-1:].expand(missing, *part.shape[1:])]) for part in parts]
        results.append(function(*parts))
    return results[0][:rows] if len(results) == 1 else torch.cat(results)[:rows]
