"""What is trained: what the loop asks of it, and gives back."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


class Task(Protocol):
    """What is trained; the loop moves `modules` and batches to its device.

    modules             one module that holds every trainable tensor and nothing else
    indices, weights    what the sampler draws from (N,), and how often in relation to each other (N,), >= 0
    """

    modules: nn.Module
    indices: NDArray[np.int64]
    weights: NDArray[np.float64]

    def batch(self, indices: NDArray[np.int64], generator: np.random.Generator) -> dict[str, Tensor]:
        """A part of a batch, on the CPU, from drawn indices (B,); runs in another thread than `loss`."""
        ...

    def loss(self, batch: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """Scalars: `loss` to be minimised, others for the history, the same every time; `generator` is of the CPU."""
        ...

    def validate(self) -> dict[str, float]:
        """Scalars for the history; `score`, higher is better, chooses the weights where the best are kept.

        Called every `validate_every` steps (never for 0) with the EMA in `modules`, in evaluation mode, without
        gradients; in the first process only.
        """
        ...


class Part(NamedTuple):
    """A part of a step's batch: its number, its share of the batch's samples, and what the task made of them."""

    number: int
    share: float
    batch: dict[str, Tensor]


class Previews(NamedTuple):
    """What is looked at while a training runs, every so many steps and at the last; it changes nothing of the training.

    `draw` takes a folder to write into and the step, and gives scalars for the history. It is called with the EMA in
    the task's modules, in evaluation mode, without gradients; in the first process only.
    """

    every: int
    draw: Callable[[Path, int], dict[str, float]]


class Trained(NamedTuple):
    """The EMA of the network (last or best step), one history row per interval, and the folder of previews."""

    tensors: dict[str, Tensor]
    history: pd.DataFrame
    previews: Path
