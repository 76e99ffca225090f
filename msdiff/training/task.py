"""What is trained: what the loop asks of it, and gives back."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

BETAS = (0.9, 0.999)  # AdamW, Loshchilov and Hutter 2019

# From a part of a batch, on the device, and a generator of the CPU to scalars: `loss` to be minimised, others for the
# history, the same every time.
LossFunction = Callable[[dict[str, Tensor], torch.Generator], dict[str, Tensor]]


class Trainable(Protocol):
    """What every task has; the loop moves `modules` and batches to its device.

    modules             one module that holds every trainable tensor and nothing else
    indices, weights    what batches are chosen from (N,), and how often in relation to each other (N,), >= 0
    """

    modules: nn.Module
    indices: NDArray[np.int64]
    weights: NDArray[np.float64]

    def batch(self, indices: NDArray[np.int64], generator: np.random.Generator) -> dict[str, Tensor]:
        """A part of a batch, on the CPU, from chosen indices (B,); runs in another thread than the loss."""
        ...

    def validate(self) -> dict[str, float]:
        """Scalars for the history; `score`, higher is better, chooses the weights where the best are kept.

        Called every `validate_every` steps (never for 0) with the EMA in `modules`, in evaluation mode, without
        gradients; in the first process only.
        """
        ...


class Task(Trainable, Protocol):
    """A task with one optimiser for all of `modules`."""

    def loss(self, batch: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """See LossFunction."""
        ...


class Player(NamedTuple):
    """What one of several optimisers trains, as generator and critic of a GAN.

    modules     whose parameters it changes; gradients that its loss leaves elsewhere are dropped
    loss        see LossFunction; it sees the same batch as the others', and noise of its own
    rate        times the learning rate of the settings
    betas       of AdamW
    """

    modules: nn.Module
    loss: LossFunction
    rate: float = 1.0
    betas: tuple[float, float] = BETAS


@runtime_checkable
class Game(Trainable, Protocol):
    """A task with an optimiser for each player, by name; in every step each has its turn, in this order.

    Scalars of the history bear their player's name first: `critic_loss`. `loss` is the sum of the players' losses.
    """

    @property
    def players(self) -> Mapping[str, Player]:
        """Their modules are parts of `modules`, without a parameter in common."""
        ...


@runtime_checkable
class Compilable(Protocol):
    """A task with one network that may be compiled; the network may hold frozen parts that `modules` lacks.

    The loop moves `network` to its device, and sets `compiled` if it is compiled: `loss` calls `compiled or network`.
    """

    compiled: Callable[..., Tensor] | None

    @property
    def network(self) -> nn.Module:
        """The network."""
        ...


def players_of(task: Task | Game) -> Mapping[str, Player]:
    """The players of a game; a task with one optimiser has one without a name."""
    if isinstance(task, Game):
        return task.players
    return {"": Player(task.modules, task.loss)}


class BatchPart(NamedTuple):
    """A part of a step's batch: its number, its share of the batch's samples, and what the task made of them."""

    number: int
    share: float
    batch: dict[str, Tensor]


class Previews(NamedTuple):
    """What is looked at while a training runs, every so many steps and at the last; it changes nothing of the training.

    `make` takes a folder to write into and the step, and gives scalars for the history. It is called with the EMA in
    the task's modules, in evaluation mode, without gradients; in the first process only.
    """

    every: int
    make: Callable[[Path, int], dict[str, float]]


class Trained(NamedTuple):
    """What every training gives.

    tensors             the EMA of the modules, of the last or the best step
    description         plain values that make a file of the tensors enough to use it
    history             one row per interval
    previews            folder of pictures made while it trained, or None
    """

    tensors: dict[str, Tensor]
    description: dict[str, Any]
    history: pd.DataFrame
    previews: Path | None = None
