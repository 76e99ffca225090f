"""Sample one shard, whatever is sampled: read, compute and write at the same time, a batch at a time.

Shard s of N holds rows s, s + N, s + 2 N ... Each draw has its own seed, so that neither the number of shards nor the
batch changes it.
"""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from msdiff.errors import BadInput
from msdiff.networks.batches import batches
from msdiff.sampling.pipeline import pipelined
from msdiff.sampling.shards import Items, new_shard

log = logging.getLogger(__name__)

Inputs = TypeVar("Inputs")


class Sampling(NamedTuple, Generic[Inputs]):
    """What is sampled, and how.

    rows        of all shards together: the manifest, one row per item
    items       the arrays to write
    read        the inputs of a batch, from its rows (B) with the column `draw`; runs in a thread of its own
    sample      the batch on its device, finished or not, from its inputs, which hold a seed for each
    finish      what is stored of a batch, by the name of its array, from its inputs and the samples on the CPU
    draws       of each row; where there are several they are the first axis of an item
    """

    rows: pd.DataFrame
    items: Mapping[str, Items]
    read: Callable[[pd.DataFrame], Inputs]
    sample: Callable[[Inputs], Tensor]
    finish: Callable[[Inputs, NDArray[np.float32]], dict[str, NDArray[Any]]]
    draws: int = 1


def sample_shard(
    sampling: Sampling[Inputs], shard: int, shards: int, batch: int, out: str | Path, of_one_size: bool = False
) -> int:
    """Sample shard `shard` of `shards` to the folder `out`, at most `batch` at a time; the number of samples.

    A batch goes on from one row to the next. Only the last is smaller, and none where they are
    `of_one_size`, as an accelerator wants them. The next batch is
    read and the one before is written while one is computed; memory does not grow with the shard. Raises BadInput where
    there is no such shard.
    """
    rows = rows_of_shard(sampling.rows, shard, shards)
    total = len(rows) * sampling.draws
    log.info("%d samples of %d rows", total, len(rows))
    with new_shard(out, rows, sampling.items) as opened, tqdm(total=total, disable=None) as progress:

        def read(numbers: NDArray[np.int64]) -> Inputs:
            row, draw = np.divmod(numbers, sampling.draws)
            return sampling.read(rows.iloc[row].assign(draw=draw))

        def compute(inputs: Inputs) -> Callable[[], NDArray[np.float32]]:
            return fetched(sampling.sample(inputs))

        def write(numbers: NDArray[np.int64], inputs: Inputs, sampled: Callable[[], NDArray[np.float32]]) -> None:
            # A batch of one size may have been filled up by its end.
            new = np.flatnonzero(np.diff(numbers, prepend=-1))
            values = sampling.finish(inputs, sampled())
            opened.write(numbers[new], {name: array[new] for name, array in values.items()})
            progress.update(len(new))

        pipelined(batches(total, batch, of_one_size), read, compute, write)
    return total


def rows_of_shard(rows: pd.DataFrame, shard: int, shards: int) -> pd.DataFrame:
    """Rows shard, shard + shards, shard + 2 shards ... of a plan; BadInput where there is no such shard."""
    if not 0 <= shard < shards:
        raise BadInput(f"shard: expected a number from 0 to {shards - 1}, got {shard}")
    return rows.iloc[shard::shards].reset_index(drop=True)


def fetched(sampled: Tensor) -> Callable[[], NDArray[np.float32]]:
    """A copy of a tensor on the CPU, ordered now and waited for when it is asked for."""
    if sampled.device.type == "cpu":
        return sampled.numpy
    host = torch.empty(sampled.shape, dtype=sampled.dtype, pin_memory=True).copy_(sampled, non_blocking=True)
    done = torch.cuda.Event()  # type: ignore[no-untyped-call]
    done.record()

    def wait() -> NDArray[np.float32]:
        done.synchronize()
        return host.numpy()

    return wait
