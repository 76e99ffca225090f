"""The same bits for a sample whatever stands beside it.

The matrix products and convolutions of a batch of one are done by other kernels than those of a batch of eight, and
round otherwise (on the CPU, in float32, by about 1e-6). In batches of one fixed size every sample is computed alike, at
any place in the batch: tests/unit/networks/test_batches.py holds this for the sizes in use. It holds for one number of
threads; an even size also keeps the bits when two threads take a half each.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def batch_size(device: torch.device, of_cpu: int) -> int | None:
    """The size of all batches that are sampled in: `of_cpu` there, None, which is any, on an accelerator."""
    return of_cpu if device.type == "cpu" else None


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


def batches(samples: int, largest: int, of_one_size: bool) -> list[NDArray[np.int64]]:
    """The samples of every batch.

    Of one size, an accelerator keeps its plans and graphs: as small as the number of batches allows, so that hardly any
    sample is made twice, for the last batch may repeat its end.

    >>> [part.tolist() for part in batches(7, 3, of_one_size=False)]
    [[0, 1, 2], [3, 4, 5], [6]]
    >>> [part.tolist() for part in batches(9, 4, of_one_size=True)]
    [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    >>> [part.tolist() for part in batches(7, 4, of_one_size=True)]
    [[0, 1, 2, 3], [4, 5, 6, 6]]
    """
    if not of_one_size:
        return [np.arange(start, min(samples, start + largest)) for start in range(0, samples, largest)]
    size = -(-samples // max(1, -(-samples // largest)))
    return [np.arange(start, start + size).clip(max=samples - 1) for start in range(0, samples, max(1, size))]
