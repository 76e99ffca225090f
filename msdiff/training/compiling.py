"""Compile a task's network before its first step, tried out on a part of a batch as the steps will have it."""

import math
from typing import Any

import numpy as np
import torch

from msdiff.networks.compiled import Call, When, compiled
from msdiff.networks.layout import on
from msdiff.training.settings import TrainingSettings
from msdiff.training.task import Compilable, Trainable, players_of


def compile_network(task: Any, settings: TrainingSettings, device: torch.device, when: When) -> None:
    """Move the network of a task that has one to the device and compile it if asked; if that fails, it stays plain."""
    if not isinstance(task, Compilable):
        return
    on(task.network, device)
    task.compiled = compiled(task.network, when, device, lambda call: _try(task, settings, device, call))


def _try(task: Any, settings: TrainingSettings, device: torch.device, call: Call) -> None:
    """One pass forwards and backwards of a part of a batch, as in training; it leaves no gradient and no buffer."""
    modules = task.modules
    buffers = [(buffer, buffer.clone()) for buffer in modules.buffers()]
    former, task.compiled = task.compiled, call
    try:
        batch = _part(task, settings, device)
        for player in players_of(task).values():
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=settings.precision == "bf16"):
                loss = player.loss(batch, torch.Generator().manual_seed(0))["loss"]
            loss.backward()  # type: ignore[no-untyped-call]
    finally:
        task.compiled = former
        modules.zero_grad(set_to_none=True)
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)


def _part(task: Trainable, settings: TrainingSettings, device: torch.device) -> dict[str, torch.Tensor]:
    indices = np.resize(task.indices, math.ceil(settings.batch_size / settings.parts))
    batch = task.batch(indices, np.random.default_rng(0))
    return {name: tensor.to(device) for name, tensor in batch.items()}
