"""What a step of a training changes: weights, optimisers, EMA and history."""

import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from msdiff import processes
from msdiff.errors import BadSettings
from msdiff.networks.layout import on
from msdiff.training.chance import DROPOUT, NOISE, global_generator, seed_of
from msdiff.training.settings import TrainingSettings, learning_rate
from msdiff.training.task import BatchPart, Game, Previews, Task, Trainable, players_of


class State:
    """Everything that a step changes and a checkpoint holds."""

    def __init__(self, task: Task | Game, settings: TrainingSettings, device: torch.device) -> None:
        self.settings = settings
        self.device = device
        self.modules = on(task.modules, device)
        self.players = players_of(task)
        self.optimisers = {
            name: torch.optim.AdamW(
                player.modules.parameters(),
                lr=settings.learning_rate,
                betas=player.betas,
                weight_decay=settings.weight_decay,
            )
            for name, player in self.players.items()
        }
        self.ema = {name: tensor.detach().clone() for name, tensor in self.modules.state_dict().items()}
        self.best: dict[str, Tensor] | None = None
        self.best_score = -math.inf
        self.step = 0
        self.seconds = 0.0
        self.row_step = 0
        self.row_seconds = 0.0
        self.sums: dict[str, Tensor] = {}
        self.rows: list[dict[str, float]] = []

    def advance(self, parts: "list[BatchPart]", seed: int) -> None:
        """One turn of every player, and then of the EMA, by this process's parts and those of the others."""
        self.modules.train()
        for number, name in enumerate(self.players):
            scalars = self._turn(number, name, parts, seed)
            if name:
                scalars = {"loss": scalars["loss"]} | {f"{name}_{key}": value for key, value in scalars.items()}
            # Summed on the device: reading each step's loss would make the accelerator wait for this loop.
            for key, value in scalars.items():
                value = value.detach().to(torch.float64)
                self.sums[key] = self.sums[key] + value if key in self.sums else value
        decay = min(self.settings.ema_decay, (1 + self.step) / (10 + self.step))
        average(self.ema, self.modules.state_dict(), decay)
        self.step += 1

    def _turn(self, number: int, name: str, parts: "list[BatchPart]", seed: int) -> dict[str, Tensor]:
        """One step of a player's optimiser; the scalars of its loss, and the norm of its gradient."""
        settings, player, optimiser = self.settings, self.players[name], self.optimisers[name]
        rate = learning_rate(settings, self.step) * player.rate
        for group in optimiser.param_groups:
            group["lr"] = rate
        autocast = torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=settings.precision == "bf16")
        # Of all modules: the last player's loss may have left gradients in this one's.
        self.modules.zero_grad(set_to_none=True)
        buffers = _Buffers(self.modules if settings.parts > 1 else None)
        scalars: dict[str, Tensor] = {}
        for part, share, batch in parts:
            batch = {key: value.to(self.device, non_blocking=True) for key, value in batch.items()}
            noise = torch.Generator().manual_seed(seed_of(seed, self.step, NOISE, part, number))
            with global_generator(seed, self.step, DROPOUT, part, number), buffers.of_part(share):
                with autocast:
                    values = player.loss(batch, noise)
                (values["loss"] * share).backward()  # type: ignore[no-untyped-call]
            for key, value in values.items():
                scalars[key] = scalars.get(key, torch.zeros_like(value.detach())) + value.detach() * share
        if processes.size() > 1:
            processes.add_up([*_gradients(player.modules), *buffers.changes, *scalars.values()])
        buffers.settle()
        norm = nn.utils.clip_grad_norm_(player.modules.parameters(), settings.clip_norm)
        optimiser.step()
        return scalars | {"gradient_norm": norm}

    def row(self, seconds: float, seen: dict[str, float]) -> dict[str, float]:
        """A row of the history: means since the last one, and what validation and preview saw at its end."""
        steps = self.step - self.row_step
        means = {name: float(value) / steps for name, value in self.sums.items()}
        rate = learning_rate(self.settings, self.step - 1)
        speed = steps * self.settings.batch_size / max(seconds - self.row_seconds, 1e-9)
        row = {"step": self.step, **means, **seen}
        return row | {"learning_rate": rate, "seconds": seconds, "samples_per_second": speed}

    def close(self, row: dict[str, float]) -> None:
        """Keep a row, and start the next."""
        self.rows.append(row)
        self.check_finite()
        self.row_step, self.row_seconds, self.sums = self.step, row["seconds"], {}

    def validate(self, task: Trainable) -> dict[str, float]:
        """Score the EMA; keep it where it is the best so far. Other processes than the first go on and wait for it."""
        if processes.rank() > 0:
            return {}
        with self._averaged():
            scalars = {name: float(value) for name, value in task.validate().items()}
        if scalars.get("score", -math.inf) > self.best_score:
            self.best_score = scalars["score"]
            self.best = {name: tensor.clone() for name, tensor in self.ema.items()}
        return {f"validation_{name}": value for name, value in scalars.items()}

    def preview(self, previews: Previews, folder: Path) -> dict[str, float]:
        """Have pictures made with the EMA, in the first process; the others go on and wait for it."""
        if processes.rank() > 0:
            return {}
        with self._averaged():
            return {f"preview_{name}": value for name, value in previews.make(folder, self.step).items()}

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """The EMA in the modules, in evaluation mode and without gradients; then what was trained, to the bit."""
        trained = {name: tensor.clone() for name, tensor in self.modules.state_dict().items()}
        self.modules.load_state_dict(self.ema)
        self.modules.eval()
        with torch.no_grad():
            yield
        self.modules.load_state_dict(trained)

    def check_alike(self) -> None:
        """Raise RuntimeError where processes that train together do not start from the same weights and step."""
        if processes.size() == 1:
            return
        checksum = 0
        for tensor in self.modules.state_dict().values():
            checksum = zlib.crc32(tensor.cpu().numpy().tobytes(), checksum)
        # All processes reported the same value.
        start = [self.step, -self.step, checksum, -checksum]
        if processes.highest(start) != start:
            raise RuntimeError("processes that train together start from different weights or checkpoints")

    def check_finite(self) -> None:
        """Raise BadSettings where a logged scalar since the last row was not finite."""
        bad = [name for name, value in self.sums.items() if not bool(torch.isfinite(value))]
        if bad:
            raise BadSettings(
                f"training: expected finite losses, got NaN or Inf in {', '.join(bad)} between steps {self.row_step} "
                f"and {self.step}; lower learning_rate or clip_norm, lengthen warm_up_steps, or use fp32"
            )

    def kept(self) -> dict[str, Tensor]:
        """The EMA of the last step, or of the best where that is kept; on the CPU."""
        tensors = self.best if self.settings.keep == "best" and self.best is not None else self.ema
        return {name: tensor.detach().cpu() for name, tensor in tensors.items()}

    def dump(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {
            "modules": self.modules.state_dict(),
            "optimisers": {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()},
            **{name: getattr(self, name) for name in _KEPT},
        }

    def load(self, checkpoint: dict[str, Any]) -> None:
        """Continue from what a checkpoint holds."""
        self.modules.load_state_dict(checkpoint["modules"])
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(checkpoint["optimisers"][name])
        for name in _KEPT:
            setattr(self, name, checkpoint[name])


_KEPT = ("ema", "best", "best_score", "step", "seconds", "row_step", "row_seconds", "sums", "rows")


def _gradients(modules: nn.Module) -> list[Tensor]:
    """The gradients, zero where only other processes have one; where none has, the optimiser leaves it alone."""
    parameters = list(modules.parameters())
    had = processes.highest([int(parameter.grad is not None) for parameter in parameters])
    with_gradient = [parameter for parameter, any_has in zip(parameters, had, strict=True) if any_has]
    for parameter in with_gradient:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    return [parameter.grad for parameter in with_gradient if parameter.grad is not None]


class _Buffers:
    """What the parts of a step make of a module's buffers: each starts from the step's start, floats are averaged.

    With None there is one part only, and buffers are as it leaves them.
    """

    def __init__(self, modules: nn.Module | None) -> None:
        self.buffers = [] if modules is None else list(modules.buffers())
        self.starts = [buffer.clone() for buffer in self.buffers]
        self.floats = [place for place, buffer in enumerate(self.buffers) if buffer.is_floating_point()]
        self.changes = [torch.zeros_like(self.buffers[place]) for place in self.floats]

    @contextmanager
    def of_part(self, share: float) -> Iterator[None]:
        """Put the buffers back to the start, and note what a part of this share of the batch makes of them."""
        for buffer, start in zip(self.buffers, self.starts, strict=True):
            buffer.copy_(start)
        yield
        for change, place in zip(self.changes, self.floats, strict=True):
            change += share * (self.buffers[place] - self.starts[place])

    def settle(self) -> None:
        """Apply the changes; whole numbers (counters) stay as a part left them."""
        for change, place in zip(self.changes, self.floats, strict=True):
            self.buffers[place].copy_(self.starts[place] + change)


def average(ema: dict[str, Tensor], tensors: dict[str, Tensor], decay: float) -> None:
    """Update in place: ema = decay * ema + (1 - decay) * tensors; counters are copied."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point():
            ema[name].lerp_(tensor.detach(), 1 - decay)
        else:
            ema[name].copy_(tensor)
