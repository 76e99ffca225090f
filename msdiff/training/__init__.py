"""The loop of every training: seeded, resumable bit for bit, stopping itself before its time limit.

A step is a pure function of the last step's state, the seed and the step's number: the items of step k are chosen
from (seed, k). They are cut into parts, and augmentation, diffusion noise and dropout of part p come from (seed, k,
p). A checkpoint therefore holds tensors, the step and the history, and no generator has to be stored; whoever continues
from step k sees what would have come.

The parts may be shared among several processes (msdiff.processes): each makes its own, and the gradients are added up.
One process or several, the result is the same within rounding, and a checkpoint of one is continued by the other. What
a part's loss makes of buffers (running means, batch norms) starts from the step's start for each part; the step's
result is the mean over the parts, weighted as the gradients are.

A task with several optimisers names its players (a GAN's generator and critic): in every step each has its turn on the
same batch, with noise of its own, and the checkpoint holds the optimisers of all.

The learning rate rises linearly over the warm-up and then stays, or falls linearly or by a half cosine to zero at the
last step. The exponential moving average (EMA) covers weights and floating buffers; its decay rises as
(1 + k) / (10 + k) to the chosen one, so that a short training is not an average over its first weights.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch
from torch import nn
from tqdm import tqdm

from msdiff import processes
from msdiff.errors import BadSettings, OutOfTime
from msdiff.networks.compiled import When
from msdiff.settings import digest
from msdiff.training.chance import AUGMENTATION, INITIAL, BatchSampler, global_generator, on_device, with_share
from msdiff.training.checkpoints import check_mark, folder_of, newest, newest_average, save
from msdiff.training.compiling import compile_network
from msdiff.training.progress import Progress, Watch, duration
from msdiff.training.settings import TrainingSettings, learning_rate
from msdiff.training.state import State, average
from msdiff.training.task import BatchPart, Game, Player, Previews, Task, Trainable, Trained

__all__ = [
    "BatchSampler",
    "Game",
    "Player",
    "Previews",
    "Task",
    "Trained",
    "TrainingSettings",
    "average",
    "duration",
    "initialised",
    "learning_rate",
    "newest_average",
    "on_device",
    "processor",
    "train",
    "with_share",
]

log = logging.getLogger(__name__)

# Folder of a training's previews, beside its checkpoints.
PREVIEWS = "previews"
PREFETCHED_BATCHES = 2

M = TypeVar("M", bound=nn.Module)


def initialised(build: Callable[[], M], seed: int) -> M:
    """Build a module whose initial weights depend on the seed only; the global generator is left as it was."""
    with global_generator(seed, 0, INITIAL, 0):
        return build()


def processor(threads: int) -> torch.device:
    """The accelerator of this process, where there is one, else the CPU with this many threads."""
    torch.set_num_threads(threads)
    if not torch.cuda.is_available():
        return torch.device("cpu")
    torch.backends.cudnn.benchmark = True
    return torch.device("cuda", torch.cuda.current_device())


def train(
    task: Task | Game,
    settings: TrainingSettings,
    *,
    seed: int,
    checkpoints: str | Path,
    minutes: float | None,
    identity: object,
    device: torch.device | str,
    description: dict[str, Any],
    compile_when: When = "never",
    previews: Previews | None = None,
) -> Trained:
    """Train, or continue from the newest checkpoint; after the last step only read it again.

    Where several processes train together, all call this alike; the first one validates and writes.

    Parameters
    ----------
    task
        A Game has several optimisers, a Compilable a network that may be compiled: see msdiff.training.task.
    seed
        Of sampler, augmentation, noise and dropout.
    checkpoints
        Folder of this training; inside it, each combination of settings, seed and identity has a folder of its own, so
        that what was changed starts anew and what was changed back goes on.
    minutes
        Time limit of the process; None is without.
    identity
        JSON-serialisable: what is trained on what (network settings, digests of training list and weights).
    description
        Of the result; changes nothing of the training.
    compile_when
        See msdiff.networks.compiled; changes rounding only.
    previews
        Go into the folder `previews` of that folder.

    Raises StaleCheckpoint where that folder holds another training's checkpoints, OutOfTime after a checkpoint before
    the limit or on SIGTERM or SIGUSR1, BadInput where there is nothing to train on, BadSettings where the loss is not
    finite or the processes cannot share a batch evenly.
    """
    if settings.parts % processes.size():
        raise BadSettings(
            f"training: expected a number of processes that divides the {settings.parts} parts of a batch, got "
            f"{processes.size()}; change micro_batches or the number of processes"
        )
    watch, device = Watch(minutes), torch.device(device)
    sampler = BatchSampler(task.indices, task.weights, settings.batch_size, seed)
    mark = {"settings": settings.model_dump(mode="json"), "seed": seed, "identity": digest(identity)}
    folder = folder_of(mark, Path(checkpoints))
    state = _restored(task, settings, mark, folder, device)
    watch.before = state.seconds
    if state.step < settings.steps:
        compile_network(task, settings, device, compile_when)
    _run(task, state, sampler, watch, previews, mark, folder)
    return Trained(state.kept(), description, pd.DataFrame(state.rows), folder / PREVIEWS)


def _restored(
    task: Task | Game, settings: TrainingSettings, mark: dict[str, Any], folder: Path, device: torch.device
) -> State:
    """The state that the newest checkpoint of the folder holds, or that of the start."""
    state = State(task, settings, device)
    checkpoint = newest(folder, device)
    if checkpoint is not None:
        check_mark(mark, checkpoint["mark"], folder)
        state.load(checkpoint)
    state.check_alike()
    log.info(
        "training to step %d from step %d on %s (processes %d, %s, batch %d, seed %d, %d parameters, torch %s)",
        settings.steps,
        state.step,
        device,
        processes.size(),
        settings.precision,
        settings.batch_size,
        mark["seed"],
        sum(parameter.numel() for parameter in task.modules.parameters()),
        torch.__version__,
    )
    return state


def _run(
    task: Task | Game,
    state: State,
    sampler: BatchSampler,
    watch: Watch,
    previews: Previews | None,
    mark: dict[str, Any],
    folder: Path,
) -> None:
    """Every step that is left, with its rows of the history and its checkpoints; OutOfTime if there is a reason."""
    settings, seed = state.settings, sampler.seed
    # Its own lock is a semaphore, which a killed process would leave behind.
    tqdm.set_lock(threading.RLock())
    hidden = None if processes.rank() == 0 else True
    progress = Progress(state.step, settings.steps)
    with (
        processes.on_stop_signals(watch.note),
        tqdm(total=settings.steps, initial=state.step, disable=hidden) as bar,
    ):
        for step, parts in batches(task, sampler, state.step, settings, seed):
            began = time.monotonic()
            state.advance(parts, seed)
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
                save(state, mark, folder)
                watch.slowest_checkpoint = max(watch.slowest_checkpoint, time.monotonic() - began)
            if stop and not last:
                raise OutOfTime(
                    f"stopped at step {state.step} of {settings.steps} ({stop}); checkpoint in {folder}, "
                    "run the same command again to continue"
                )
    log.info("trained %d steps in %.0f s", state.step, state.seconds)


def _due(step: int, every: int, last: bool) -> bool:
    """Whether something is done after a step: every so many, and after the last; never for 0."""
    return every > 0 and (step % every == 0 or last)


def batches(
    task: Trainable, sampler: BatchSampler, first: int, settings: TrainingSettings, seed: int
) -> Iterator[tuple[int, list[BatchPart]]]:
    """The parts that this process makes of the steps to come, a few steps prepared ahead in another thread."""

    def prepare(step: int) -> list[BatchPart]:
        cut = np.array_split(sampler.choose(step), settings.parts)
        return [
            BatchPart(
                part,
                len(cut[part]) / settings.batch_size,
                task.batch(cut[part], np.random.default_rng([seed, step, AUGMENTATION, part])),
            )
            for part in range(processes.rank(), settings.parts, processes.size())
        ]

    with ThreadPoolExecutor(max_workers=1) as pool:
        ahead: list[Future[list[BatchPart]]] = []
        for step in range(first, settings.steps):
            while len(ahead) < min(PREFETCHED_BATCHES, settings.steps - step):
                ahead.append(pool.submit(prepare, step + len(ahead)))
            yield step, ahead.pop(0).result()
