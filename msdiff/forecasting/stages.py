"""What the trainings of both stages share: the loop with a compiled network, the result, and the loading of weights."""

import math
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from msdiff.diffusion.objective import Objective
from msdiff.errors import BadInput
from msdiff.forecasting.slabs import NET2, Slabs
from msdiff.networks.compiled import Call, When, compiled
from msdiff.training import Task, Trained, TrainingSettings, train

# Arrays of the slabs that trainings read.
ARRAYS = ("channels", NET2)


class Stage(NamedTuple):
    """A trained stage: tensors, the description that makes its weights file enough, and its history."""

    tensors: dict[str, Tensor]
    description: dict[str, Any]
    history: pd.DataFrame


class StageTask(Task, Protocol):
    """A training task with one network, and its compiled call where there is one; `modules` may be a part of it."""

    @property
    def network(self) -> nn.Module:
        """On the device of the training."""
        ...

    compiled: Call | None


def train_stage(
    task: StageTask,
    slabs: Slabs,
    training: TrainingSettings,
    seed: int,
    identity: dict[str, Any],
    checkpoints: Path,
    minutes: float | None,
    device: torch.device,
    compile_when: When,
) -> Trained:
    """Compile where asked, then train; see msdiff.training.train. The slabs join the identity."""
    began = monotonic()
    identity = identity | {"slabs": slabs.sha256(*ARRAYS)}
    task.network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    task.compiled = compiled(task.network, compile_when, device, partial(_try, task, training, device))
    return train(
        task,
        training,
        seed=seed,
        checkpoints=checkpoints,
        minutes=None if minutes is None else minutes - (monotonic() - began) / 60,
        identity=identity,
        device=device,
    )


def _try(task: StageTask, training: TrainingSettings, device: torch.device, call: Call) -> None:
    """One pass forwards and backwards of a part of a batch, as in training."""
    task.compiled = call
    indices = np.resize(task.indices, math.ceil(training.batch_size / training.parts))
    batch = task.batch(indices, np.random.default_rng(0))
    batch = {name: tensor.to(device) for name, tensor in batch.items()}
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=training.precision == "bf16"):
        loss = task.loss(batch, torch.Generator().manual_seed(0))["loss"]
    loss.backward()  # type: ignore[no-untyped-call]
    task.modules.zero_grad(set_to_none=True)


def denoising_loss(
    objective: Objective, predict: Call, x: Tensor, lesions: Tensor, rng: torch.Generator
) -> dict[str, Tensor]:
    """The loss, and the mean error of the prediction in all of the slab and in its lesions.

    Parameters
    ----------
    predict
        From noisy slabs (B, C, S, H, W) and logsnr (B,) to the network's raw output.
    x
        Slabs (B, C, S, H, W) in [-1, 1].
    lesions
        True masks (B, 1, S, H, W) of 0 and 1.
    """
    noised = objective.noised(x, rng, x.dtype)
    loss, error, lesion_error = objective.loss(predict(noised.z, noised.logsnr).float(), noised, lesions)
    return {"loss": loss, **objective.named(error, lesion_error)}


def fill(network: nn.Module, tensors: dict[str, Tensor], path: str | Path) -> None:
    """Put trained tensors into a network; BadInput where they are of other sizes."""
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise BadInput(
            f"{path}: expected weights of the network that it describes, got others "
            f"({str(error).splitlines()[-1].strip()}); train it again"
        ) from error
