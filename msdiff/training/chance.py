"""Everything random of a training: each stream follows from the seed, the step and the part of the batch alone."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

from msdiff.errors import BadInput

# Names the independent streams of random numbers of one step.
SAMPLER, AUGMENTATION, NOISE, DROPOUT, INITIAL = range(5)


class BatchSampler:
    """Endless batches, chosen with replacement; that of step k depends on the seed and k only.

    The items of a batch are spread evenly along the list (one in each of B equal parts of the total weight), so that
    each batch holds nearly the wanted share of every stretch of it; each item comes as often as its weight says.
    """

    def __init__(self, indices: NDArray[np.int64], weights: NDArray[np.float64], batch_size: int, seed: int) -> None:
        if len(indices) == 0 or len(indices) != len(weights) or not np.sum(weights) > 0 or np.min(weights) < 0:
            raise BadInput(
                f"training list: expected items with weights >= 0, some above 0, got {len(indices)} items and "
                f"{len(weights)} weights; check the scans of split train"
            )
        self.indices = np.asarray(indices, dtype=np.int64)
        self.bounds = np.cumsum(weights) / np.sum(weights)
        self.batch_size = batch_size
        self.seed = seed

    def choose(self, step: int) -> NDArray[np.int64]:
        """The indices (B,) of a step's batch."""
        rng = np.random.default_rng([self.seed, step, SAMPLER])
        places = (np.arange(self.batch_size) + rng.random(self.batch_size)) / self.batch_size
        chosen = np.searchsorted(self.bounds, places, side="right")
        return np.asarray(self.indices[rng.permutation(np.minimum(chosen, len(self.indices) - 1))])


def with_share(positive: NDArray[np.bool_], share: float) -> NDArray[np.float64]:
    """Weights (N,) of items such that this share of the chosen ones is positive, if there are both kinds."""
    return np.asarray(np.where(positive, share / max(1, positive.sum()), (1 - share) / max(1, (~positive).sum())))


def seed_of(seed: int, step: int, stream: int, part: int, player: int = 0) -> int:
    """One number for torch from several, without the collisions of a sum."""
    # The first player's numbers are those of a training with one optimiser.
    numbers = [seed, step, stream, part, *([player] if player else [])]
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def on_device(generator: torch.Generator, device: torch.device) -> torch.Generator:
    """The generator itself on the CPU; on an accelerator, one of its own that follows from it."""
    if device.type == "cpu":
        return generator
    seed = int(torch.randint(2**62, (), generator=generator))
    return torch.Generator(device).manual_seed(seed)


@contextmanager
def global_generator(seed: int, step: int, stream: int, part: int, player: int = 0) -> Iterator[None]:
    """Seed the generators that layers such as dropout use; that of the CPU is put back afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(seed, step, stream, part, player))
        yield
