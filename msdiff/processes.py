"""Several processes that train together on one machine, one per accelerator.

A training command calls `in_processes`: it runs the work here, or starts the command's work once per process, waits,
and ends as the processes ended: with their one line of bad input, with the traceback of a bug, or out of time. Inside,
`rank`, `size`, `highest` and `add_up` are all that a training needs to know of the others; in a process that is alone
they cost nothing and touch no torch.distributed.

The processes are told who they are by torchrun's environment variables, so that
`torchrun --nproc-per-node 4 -m msdiff train-generator ...` works too. Torch's elastic agent is not what starts them,
for on SIGTERM it loses their exit codes and kills what is not gone in time, it sends SIGTERM to the others when one
fails (which to a training means: finish the step, with a partner that is gone), and it tells of bad input in thirty
lines.
"""

import logging
import multiprocessing
import os
import signal
import threading
import traceback
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import FrameType

import torch
from torch import Tensor, distributed

from msdiff.errors import BadInput, MsdiffError, OutOfTime, ProcessLost
from msdiff.logs import log_to_stderr

log = logging.getLogger(__name__)

# A cluster's warnings: SIGTERM before it kills, SIGUSR1 where the job asked for one.
STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
# The others wait while the first validates and writes. Who is lost is noticed by the parent, not by waiting.
PATIENCE = timedelta(days=1)
# A process that is gone shows in the others' errors, which may arrive before its end does.
SECONDS_TO_DIE = 1.0
HOST = "127.0.0.1"


def rank() -> int:
    """The number of this process; 0 is the one that writes."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def size() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def highest(numbers: list[int]) -> list[int]:
    """The highest that any process gives, number by number."""
    if size() == 1:
        return numbers
    # On the CPU: the accelerator need not be waited for.
    found = torch.tensor(numbers)
    distributed.all_reduce(found, distributed.ReduceOp.MAX)
    return found.tolist()


def add_up(tensors: list[Tensor]) -> None:
    """Replace each tensor with its sum over the processes, in one message of float32; shapes and order are alike."""
    if size() == 1:
        return
    flat = torch.cat([tensor.detach().reshape(-1).float() for tensor in tensors])
    distributed.all_reduce(flat)
    sums = torch.split(flat, [tensor.numel() for tensor in tensors])
    with torch.no_grad():
        for tensor, total in zip(tensors, sums, strict=True):
            tensor.copy_(total.view(tensor.shape))


def share(parts: int, wanted: int) -> int:
    """How many processes share `parts` evenly: at most `wanted`, or for 0 one per visible accelerator.

    Warns where that is fewer; BadInput where more are wanted than there are accelerators.
    """
    accelerators = torch.cuda.device_count()
    if wanted < 0 or 0 < accelerators < wanted:
        raise BadInput(
            f"--processes: expected a number from 0, and not above that of visible accelerators where there are some "
            f"({accelerators}), got {wanted}"
        )
    available = wanted or accelerators or 1
    number = max(number for number in range(1, available + 1) if parts % number == 0)
    if number < available:
        log.warning(
            "training in %d of %d possible processes, for each takes as many of a batch's %d parts; to use all, set "
            "training.micro_batches to a multiple of %d",
            *(number, available, parts, available),
        )
    return number


def in_processes(work: Callable[[Namespace], None], arguments: Namespace, parts: int) -> None:
    """Call work(arguments) here or in several processes, which share a batch's parts and `arguments.threads`.

    `arguments.processes` is what `share` is asked for. Raises what a process raised: MsdiffError and OutOfTime as
    they are, a bug with its traceback; ProcessLost where one was killed. SIGTERM and SIGUSR1 are passed on.
    """
    if distributed.is_torchelastic_launched():
        _work_with_others(work, arguments)
        return
    number = share(parts, arguments.processes)
    if number == 1:
        work(arguments)
        return
    log.info("starting %d processes, for %d parts of a batch", number, parts)
    spawn = multiprocessing.get_context("spawn")
    # Where the processes meet. The parent keeps it: so the port is taken as soon as it is chosen.
    store = distributed.TCPStore(HOST, 0, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
    members: dict[Connection, SpawnProcess] = {}
    try:
        for number_of_this in range(number):
            variables = {
                "RANK": number_of_this,
                "LOCAL_RANK": number_of_this,
                "WORLD_SIZE": number,
                "MASTER_ADDR": HOST,
                "MASTER_PORT": store.port,
                "TORCHELASTIC_USE_AGENT_STORE": True,
                "TORCHELASTIC_RESTART_COUNT": 0,
            }
            ours, theirs = spawn.Pipe(duplex=False)
            member = spawn.Process(target=_member, args=(work, arguments, variables, theirs))
            member.start()
            theirs.close()
            members[ours] = member
        _wait_for(members)
    finally:
        for member in members.values():
            member.kill()
            member.join()


@contextmanager
def on_stop_signals(note: Callable[[int], object]) -> Iterator[None]:
    """Call `note` with the number of each stop signal, instead of ending."""

    def handle(number: int, frame: FrameType | None) -> None:
        note(number)

    # Python hands signals to the main thread only.
    wanted = STOP_SIGNALS if threading.current_thread() is threading.main_thread() else ()
    former = {number: signal.signal(number, handle) for number in wanted}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _wait_for(members: dict[Connection, SpawnProcess]) -> None:
    """Return when all are done, raise when one is not to be."""
    stopped: list[int] = []

    def pass_on(number: int) -> None:
        stopped.append(number)
        for member in members.values():
            with suppress(ProcessLookupError):
                os.kill(member.pid or 0, number)

    pending = list(members)
    with on_stop_signals(pass_on):
        while pending:
            for reply in wait(pending):
                assert isinstance(reply, Connection)
                pending.remove(reply)
                try:
                    outcome = reply.recv()
                except EOFError:
                    outcome = "it ended without a word"
                if isinstance(outcome, MsdiffError | OutOfTime):
                    raise outcome
                if outcome is not None:
                    _raise_for_lost(list(members.values()), stopped)
                    raise RuntimeError(f"in a process of the training:\n{outcome}")


def _raise_for_lost(members: list[SpawnProcess], stopped: list[int]) -> None:
    """Raise where one of the processes did not end by itself."""
    gone = wait([member.sentinel for member in members], timeout=SECONDS_TO_DIE)
    for number, member in enumerate(members):
        if member.sentinel not in gone:
            continue
        # What it held open is closed a moment before it has ended.
        member.join()
        code = member.exitcode or 0
        if code < 0:
            name = signal.Signals(-code).name
            if -code in stopped:
                raise OutOfTime(f"stopped on {name} while starting or ending; run the same command again to continue")
            raise ProcessLost(
                f"process {number} of {len(members)} was ended by {name}, often for want of memory; run the same "
                "command again to continue from the newest checkpoint"
            )


def _member(
    work: Callable[[Namespace], None], arguments: Namespace, variables: dict[str, object], reply: Connection
) -> None:
    """What each started process does: the work, then tell the parent how it went."""
    # The parent hears the keyboard too, and ends us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    log_to_stderr()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.update({name: str(value) for name, value in variables.items()})
    outcome: Exception | str | None = None
    try:
        _work_with_others(work, arguments)
    except (MsdiffError, OutOfTime) as error:
        outcome = error
    except Exception:
        outcome = traceback.format_exc()
    reply.send(outcome)
    if outcome is not None:
        # Until the parent ends us: to leave now would show as an error in the others, beside its cause.
        threading.Event().wait()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work_with_others(work: Callable[[Namespace], None], arguments: Namespace) -> None:
    """Join the processes that torchrun's variables tell of, work, and leave together."""
    number, number_here, together = (int(os.environ[name]) for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"))
    if number > 0:
        logging.getLogger().setLevel(logging.ERROR)
    accelerated = torch.cuda.is_available()
    if accelerated:
        torch.cuda.set_device(number_here)
    distributed.init_process_group("cpu:gloo,cuda:nccl" if accelerated else "gloo", timeout=PATIENCE)
    stop: OutOfTime | None = None
    try:
        work(Namespace(**(vars(arguments) | {"threads": max(1, arguments.threads // together)})))
    except OutOfTime as reason:
        stop = reason
    # Whoever is ready waits for the one that writes.
    highest([0])
    distributed.destroy_process_group()
    if stop is not None:
        raise stop
