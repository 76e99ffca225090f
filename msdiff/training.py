"""The loop of every training: seeded, resumable bit for bit, stopping itself before its time limit.

A step is a pure function of the last step's state, the seed and the step's number: the sampler draws the slices of step
k from (seed, k). They are cut into parts, and augmentation, diffusion noise and dropout of part p come from (seed, k,
p). A checkpoint therefore holds tensors, the step and the history, and no generator has to be stored; whoever continues
from step k sees what would have come.

The parts may be shared among several processes (msdiff.processes): each makes its own, and the gradients are added up.
One process or several, the result is the same within rounding, and a checkpoint of one is continued by the other. What
a part's loss makes of buffers (running means, batch norms) starts from the step's start for each part; the step's
result is the mean over the parts, weighted as the gradients are.

The learning rate rises linearly over the warm-up and then stays, or falls linearly or by a half cosine to zero at the
last step. The exponential moving average (EMA) covers weights and floating buffers; its decay rises as
(1 + k) / (10 + k) to the chosen one, so that a short training is not an average over its first weights.
"""

import logging
import math
import os
import re
import signal
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Protocol, TypeVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn
from tqdm import tqdm

from msdiff import processes
from msdiff.errors import BadInput, BadSettings, OutOfTime, StaleCheckpoint
from msdiff.settings import Settings, digest
from msdiff.writing import whole_file

log = logging.getLogger(__name__)

BETAS = (0.9, 0.999)  # AdamW, Loshchilov and Hutter 2019
KEPT_CHECKPOINTS = 2
# Folder of a training's previews, beside its checkpoints.
PREVIEWS = "previews"
# Of the digest that names a folder of checkpoints.
DIGITS = 12
PREFETCHED_BATCHES = 2
# Of the time limit, left for the start of the process and for writing its results.
RESERVED_SHARE = 0.05
# A line of progress: not more often than the one at rows of the history, not more seldom than the other between them.
SECONDS_BETWEEN_ROWS = 5.0
SECONDS_OF_SILENCE = 60.0
# Names the independent streams of random numbers of one step.
SAMPLER, AUGMENTATION, NOISE, DROPOUT, INITIAL = range(5)


class TrainingSettings(Settings):
    """How long and how fast to train.

    micro_batches       a batch goes through the network in this many parts, of nearly one size, to fit into memory;
                        processes that train together share them
    validate_every      steps, 0 for never
    keep                the weights of the last step, or the best by the validation's score
    """

    steps: PositiveInt
    batch_size: PositiveInt
    micro_batches: PositiveInt
    learning_rate: PositiveFloat
    weight_decay: NonNegativeFloat
    warm_up_steps: NonNegativeInt
    decay: Literal["none", "linear", "cosine"]
    ema_decay: Annotated[float, Field(ge=0, lt=1)]
    clip_norm: PositiveFloat
    precision: Literal["fp32", "bf16"]
    log_every: PositiveInt
    checkpoint_every: PositiveInt
    validate_every: NonNegativeInt
    keep: Literal["last", "best"]

    @property
    def parts(self) -> int:
        """How many parts a batch has; none is empty."""
        return min(self.micro_batches, self.batch_size)


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


M = TypeVar("M", bound=nn.Module)


def initialised(build: Callable[[], M], seed: int) -> M:
    """Build a module whose initial weights depend on the seed only; the global generator is left as it was."""
    with _global_generator(seed, 0, INITIAL, 0):
        return build()


def processor(threads: int) -> torch.device:
    """The accelerator of this process, where there is one, else the CPU with this many threads."""
    torch.set_num_threads(threads)
    if not torch.cuda.is_available():
        return torch.device("cpu")
    torch.backends.cudnn.benchmark = True
    return torch.device("cuda", torch.cuda.current_device())


def train(
    task: Task,
    settings: TrainingSettings,
    *,
    seed: int,
    checkpoints: str | Path,
    minutes: float | None,
    identity: object,
    device: torch.device | str,
    previews: Previews | None = None,
) -> Trained:
    """Train, or continue from the newest checkpoint; after the last step only read it again.

    Where several processes train together, all call this alike; the first one validates and writes.

    Parameters
    ----------
    seed
        Of sampler, augmentation, noise and dropout.
    checkpoints
        Folder of this training; inside it, each combination of settings, seed and identity has a folder of its own, so
        that what was changed starts anew and what was changed back goes on.
    minutes
        Time limit of the process; None is without.
    identity
        JSON-serialisable: what is trained on what (network settings, digests of training list and weights).
    previews
        Go into the folder `previews` of that folder.

    Raises StaleCheckpoint where that folder holds another training's checkpoints, OutOfTime after a checkpoint before
    the limit or on SIGTERM or SIGUSR1, BadInput where there is nothing to draw from, BadSettings where the loss is not
    finite or the processes cannot share a batch evenly.
    """
    if settings.parts % processes.size():
        raise BadSettings(
            f"training: expected a number of processes that divides the {settings.parts} parts of a batch, got "
            f"{processes.size()}; change micro_batches or the number of processes"
        )
    watch = _Watch(minutes)
    device = torch.device(device)
    sampler = Sampler(task.indices, task.weights, settings.batch_size, seed)
    mark = {"settings": settings.model_dump(mode="json"), "seed": seed, "identity": digest(identity)}
    folder = Path(checkpoints) / digest(mark)[:DIGITS]
    others = [str(other) for other in Path(checkpoints).glob("*/") if other.name != folder.name]
    if others and not folder.exists():
        log.warning("starting anew, for settings or inputs have changed; kept, yours to remove: %s", ", ".join(others))
    state = _State(task.modules, settings, device)
    newest = _newest(folder, device)
    if newest is not None:
        _check_mark(mark, newest["mark"], folder)
        state.load(newest)
        watch.before = state.seconds
    state.check_alike()
    log.info(
        "training to step %d from step %d on %s (processes %d, %s, batch %d, seed %d, %d parameters, torch %s)",
        settings.steps,
        state.step,
        device,
        processes.size(),
        settings.precision,
        settings.batch_size,
        seed,
        sum(parameter.numel() for parameter in task.modules.parameters()),
        torch.__version__,
    )
    # Its own lock is a semaphore, which a killed process would leave behind.
    tqdm.set_lock(threading.RLock())
    hidden = None if processes.rank() == 0 else True
    progress = _Progress(state.step, settings.steps)
    with (
        processes.on_stop_signals(watch.note),
        tqdm(total=settings.steps, initial=state.step, disable=hidden) as bar,
    ):
        for step, parts in _batches(task, sampler, state.step, settings, seed):
            began = time.monotonic()
            state.advance(task, parts, seed)
            watch.slowest_step = max(watch.slowest_step, time.monotonic() - began)
            last = step + 1 == settings.steps
            validated = _due(state.step, settings.validate_every, last)
            previewed = previews is not None and _due(state.step, previews.every, last)
            closed = state.step % settings.log_every == 0 or validated or previewed or last
            if closed or progress.silent():
                seen = state.validate(task) if validated else {}
                if previews is not None and previewed:
                    seen |= state.preview(previews, folder / PREVIEWS)
                row = state.row(watch.seconds(), seen)
                progress.tell(row, always=validated or previewed or last)
            if closed:
                state.close(row)
            bar.update()
            stop = watch.reason()
            if state.step % settings.checkpoint_every == 0 or last or stop:
                began = time.monotonic()
                state.seconds = watch.seconds()
                _save(state, mark, folder)
                watch.slowest_checkpoint = max(watch.slowest_checkpoint, time.monotonic() - began)
            if stop and not last:
                raise OutOfTime(
                    f"stopped at step {state.step} of {settings.steps} ({stop}); checkpoint in {folder}, "
                    "run the same command again to continue"
                )
    log.info("trained %d steps in %.0f s", state.step, state.seconds)
    tensors = state.best if settings.keep == "best" and state.best is not None else state.ema
    tensors = {name: tensor.detach().cpu() for name, tensor in tensors.items()}
    return Trained(tensors, pd.DataFrame(state.rows), folder / PREVIEWS)


def _due(step: int, every: int, last: bool) -> bool:
    """Whether something is done after a step: every so many, and after the last; never for 0."""
    return every > 0 and (step % every == 0 or last)


class Sampler:
    """Endless draws with replacement; those of step k depend on the seed and k only.

    The draws of a batch are spread evenly along the list (one in each of B equal parts of the total weight), so that
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

    def draw(self, step: int) -> NDArray[np.int64]:
        """The indices (B,) of a step's batch."""
        rng = np.random.default_rng([self.seed, step, SAMPLER])
        places = (np.arange(self.batch_size) + rng.random(self.batch_size)) / self.batch_size
        drawn = np.searchsorted(self.bounds, places, side="right")
        return np.asarray(self.indices[rng.permutation(np.minimum(drawn, len(self.indices) - 1))])


def learning_rate(settings: TrainingSettings, step: int) -> float:
    """The learning rate of the step with this number, counted from 0."""
    if step < settings.warm_up_steps:
        return settings.learning_rate * (step + 1) / settings.warm_up_steps
    left = 1 - (step - settings.warm_up_steps) / max(1, settings.steps - settings.warm_up_steps)
    factor = {"none": 1.0, "linear": left, "cosine": (1 - math.cos(math.pi * left)) / 2}[settings.decay]
    return settings.learning_rate * factor


class _State:
    """Everything that a step changes and a checkpoint holds."""

    def __init__(self, modules: nn.Module, settings: TrainingSettings, device: torch.device) -> None:
        self.settings = settings
        self.device = device
        volumes = any(parameter.dim() == 5 for parameter in modules.parameters())
        layout = torch.channels_last_3d if volumes else torch.channels_last
        self.modules = modules.to(device, memory_format=layout)  # type: ignore[call-overload]
        self.optimiser = torch.optim.AdamW(
            modules.parameters(), lr=settings.learning_rate, betas=BETAS, weight_decay=settings.weight_decay
        )
        self.ema = {name: tensor.detach().clone() for name, tensor in modules.state_dict().items()}
        self.best: dict[str, Tensor] | None = None
        self.best_score = -math.inf
        self.step = 0
        self.seconds = 0.0
        self.row_step = 0
        self.row_seconds = 0.0
        self.sums: dict[str, Tensor] = {}
        self.rows: list[dict[str, float]] = []

    def advance(self, task: Task, parts: "list[_Part]", seed: int) -> None:
        """One step of the optimiser, and of the EMA, by this process's parts and those of the others."""
        settings = self.settings
        rate = learning_rate(settings, self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.modules.train()
        autocast = torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=settings.precision == "bf16")
        self.optimiser.zero_grad(set_to_none=True)
        buffers = _Buffers(self.modules if settings.parts > 1 else None)
        scalars: dict[str, Tensor] = {}
        for number, share, batch in parts:
            batch = {name: value.to(self.device, non_blocking=True) for name, value in batch.items()}
            noise = torch.Generator().manual_seed(_seed(seed, self.step, NOISE, number))
            with _global_generator(seed, self.step, DROPOUT, number), buffers.of_part(share):
                with autocast:
                    values = task.loss(batch, noise)
                (values["loss"] * share).backward()  # type: ignore[no-untyped-call]
            for name, value in values.items():
                scalars[name] = scalars.get(name, torch.zeros_like(value.detach())) + value.detach() * share
        if processes.size() > 1:
            processes.add_up([*self._gradients(), *buffers.changes, *scalars.values()])
        buffers.settle()
        norm = nn.utils.clip_grad_norm_(self.modules.parameters(), settings.clip_norm)
        self.optimiser.step()
        decay = min(settings.ema_decay, (1 + self.step) / (10 + self.step))
        average(self.ema, self.modules.state_dict(), decay)
        # Summed on the device: reading each step's loss would make the accelerator wait for this loop.
        for name, value in (scalars | {"gradient_norm": norm}).items():
            value = value.detach().to(torch.float64)
            self.sums[name] = self.sums[name] + value if name in self.sums else value
        self.step += 1

    def _gradients(self) -> list[Tensor]:
        """The gradients, zero where only other processes have one; where none has, the optimiser leaves it alone."""
        parameters = list(self.modules.parameters())
        had = processes.highest([int(parameter.grad is not None) for parameter in parameters])
        with_gradient = [parameter for parameter, any_has in zip(parameters, had, strict=True) if any_has]
        for parameter in with_gradient:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        return [parameter.grad for parameter in with_gradient if parameter.grad is not None]

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

    def validate(self, task: Task) -> dict[str, float]:
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
        """Have the EMA drawn from, in the first process; the others go on and wait for it."""
        if processes.rank() > 0:
            return {}
        with self._averaged():
            return {f"preview_{name}": value for name, value in previews.draw(folder, self.step).items()}

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
        # The highest is the lowest.
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

    def dump(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {
            "modules": self.modules.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            **{name: getattr(self, name) for name in _KEPT},
        }

    def load(self, checkpoint: dict[str, Any]) -> None:
        """Continue from what a checkpoint holds."""
        self.modules.load_state_dict(checkpoint["modules"])
        self.optimiser.load_state_dict(checkpoint["optimiser"])
        for name in _KEPT:
            setattr(self, name, checkpoint[name])


_KEPT = ("ema", "best", "best_score", "step", "seconds", "row_step", "row_seconds", "sums", "rows")


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


class _Progress:
    """Lines of progress in the log: at rows of the history, and between them where those are far apart."""

    def __init__(self, first: int, steps: int) -> None:
        self.first = first
        self.steps = steps
        self.began = self.told = time.monotonic()

    def silent(self) -> bool:
        """Whether the last line is long ago."""
        return time.monotonic() - self.told > SECONDS_OF_SILENCE

    def tell(self, row: dict[str, float], always: bool) -> None:
        """Log a row; unless it is to be told always, not where the last line has only just been written."""
        now = time.monotonic()
        if not always and now - self.told < SECONDS_BETWEEN_ROWS:
            return
        self.told = now
        step = int(row["step"])
        left = duration((self.steps - step) * (now - self.began) / (step - self.first))
        shown = {name: row[name] for name in row if name not in ("step", "learning_rate", "seconds")}
        speed = shown.pop("samples_per_second")
        scalars = ", ".join(f"{name} {value:.4g}" for name, value in shown.items())
        log.info("step %d of %d: %s, %.1f samples/s, %s left", step, self.steps, scalars, speed, left)


def duration(seconds: float) -> str:
    """A span of time for people.

    >>> duration(41.2), duration(720), duration(18630)
    ('41 s', '12 min', '5 h 10 min')
    """
    minutes, whole = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes else f"{whole} s"


class _Watch:
    """When to stop: on a signal, or while a step and a checkpoint still fit before the time limit."""

    def __init__(self, minutes: float | None) -> None:
        self.began = time.monotonic()
        self.before = 0.0
        self.limit = math.inf if minutes is None else minutes * 60 * (1 - RESERVED_SHARE)
        self.slowest_step = 0.0
        self.slowest_checkpoint = 0.0
        self.signal = 0

    def note(self, number: int) -> None:
        """Remember a signal."""
        self.signal = number

    def seconds(self) -> float:
        """Seconds of training, those before the newest checkpoint included."""
        return self.before + time.monotonic() - self.began

    def reason(self) -> str | None:
        """Why to stop now, if at all; processes that train together get one answer."""
        needed = 2 * (self.slowest_step + self.slowest_checkpoint)
        late = time.monotonic() - self.began + needed > self.limit
        signalled, out_of_time = processes.highest([self.signal, int(late)])
        if signalled:
            return f"on {signal.Signals(signalled).name}"
        return "before its time limit" if out_of_time else None


def average(ema: dict[str, Tensor], tensors: dict[str, Tensor], decay: float) -> None:
    """Update in place: ema = decay * ema + (1 - decay) * tensors; counters are copied."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point():
            ema[name].lerp_(tensor.detach(), 1 - decay)
        else:
            ema[name].copy_(tensor)


class _Part(NamedTuple):
    """A part of a step's batch: its number, its share of the batch's samples, and what the task made of them."""

    number: int
    share: float
    batch: dict[str, Tensor]


def _batches(
    task: Task, sampler: Sampler, first: int, settings: TrainingSettings, seed: int
) -> Iterator[tuple[int, list[_Part]]]:
    """The parts that this process makes of the steps to come, a few steps prepared ahead in another thread."""

    def prepare(step: int) -> list[_Part]:
        cut = np.array_split(sampler.draw(step), settings.parts)
        return [
            _Part(
                part,
                len(cut[part]) / settings.batch_size,
                task.batch(cut[part], np.random.default_rng([seed, step, AUGMENTATION, part])),
            )
            for part in range(processes.rank(), settings.parts, processes.size())
        ]

    with ThreadPoolExecutor(max_workers=1) as pool:
        ahead: list[Future[list[_Part]]] = []
        for step in range(first, settings.steps):
            while len(ahead) < min(PREFETCHED_BATCHES, settings.steps - step):
                ahead.append(pool.submit(prepare, step + len(ahead)))
            yield step, ahead.pop(0).result()


def _seed(seed: int, step: int, stream: int, part: int) -> int:
    """One number for torch from several, without the collisions of a sum."""
    return int(np.random.SeedSequence([seed, step, stream, part]).generate_state(1, np.uint64)[0] >> 1)


@contextmanager
def _global_generator(seed: int, step: int, stream: int, part: int) -> Iterator[None]:
    """Seed the generators that layers such as dropout draw from; that of the CPU is put back afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_seed(seed, step, stream, part))
        yield


def _save(state: _State, mark: dict[str, Any], folder: Path) -> None:
    """Write a checkpoint whole, then remove all but the newest few; of several processes, the first does."""
    state.check_finite()
    if processes.rank() > 0:
        return
    path = folder / f"step-{state.step:09d}.pt"
    with whole_file(path) as temporary:
        torch.save(state.dump() | {"mark": mark}, temporary)
    log.info("wrote %s", path)
    for old in sorted(folder.glob("step-*.pt"))[:-KEPT_CHECKPOINTS]:
        old.unlink()


def newest_average(checkpoints: str | Path) -> tuple[dict[str, Tensor], int]:
    """The EMA of the newest checkpoint of a training that has not ended, and its step; BadInput where there is none."""
    folders = sorted(Path(checkpoints).glob("*/"), key=lambda folder: folder.stat().st_mtime)
    checkpoint = _newest(folders[-1], torch.device("cpu")) if folders else None
    if checkpoint is None:
        raise BadInput(f"{checkpoints}: expected a folder of a training's checkpoints, found none; correct the path")
    return checkpoint["ema"], checkpoint["step"]


def _newest(folder: Path, device: torch.device) -> dict[str, Any] | None:
    """The newest readable checkpoint; leavings of a killed process are removed."""
    for leaving in folder.glob(".*.step-*.pt"):
        if re.fullmatch(r"\.\d+\.step-\d+\.pt", leaving.name) and leaving.name.split(".")[1] != str(os.getpid()):
            leaving.unlink(missing_ok=True)
    for path in sorted(folder.glob("step-*.pt"), reverse=True):
        # torch writes zip files, whose table of contents comes last: a half one is none.
        if not zipfile.is_zipfile(path):
            log.warning("%s: not a whole checkpoint; taking the one before", path)
            continue
        checkpoint: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        log.info("continuing from %s", path)
        return checkpoint
    return None


def _check_mark(mark: dict[str, Any], found: dict[str, Any], folder: Path) -> None:
    """Raise StaleCheckpoint where a checkpoint is another training's."""
    if mark == found:
        return
    faults = [
        f"{key} {found['settings'].get(key)!r} instead of {value!r}"
        for key, value in mark["settings"].items()
        if found["settings"].get(key) != value
    ]
    if mark["seed"] != found["seed"]:
        faults.append(f"seed {found['seed']} instead of {mark['seed']}")
    if mark["identity"] != found["identity"]:
        faults.append("another network, training list or input files")
    raise StaleCheckpoint(
        f"{folder}: expected checkpoints of this training, got those of one with {', '.join(faults)}; "
        "remove the folder to train anew"
    )
