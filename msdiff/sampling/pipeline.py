"""Reading, computing and writing at the same time, each in its own thread, in order.

While part k is computed, part k + 1 is read and part k - 1 written. No more than these three are held, however many
there are.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Part = TypeVar("Part")
Inputs = TypeVar("Inputs")
Outputs = TypeVar("Outputs")


def pipelined(
    parts: Sequence[Part],
    read: Callable[[Part], Inputs],
    compute: Callable[[Inputs], Outputs],
    write: Callable[[Part, Inputs, Outputs], None],
) -> None:
    """write(part, read(part), compute(read(part))) for every part; only `compute` runs in the caller's thread.

    The first error of any of the three is raised, and no later part is begun.
    """
    with ThreadPoolExecutor(1, "read") as reader, ThreadPoolExecutor(1, "write") as writer:
        ahead: Future[Inputs] | None = reader.submit(read, parts[0]) if parts else None
        behind: Future[None] | None = None
        for number, part in enumerate(parts, 1):
            assert ahead is not None
            inputs = ahead.result()
            ahead = reader.submit(read, parts[number]) if number < len(parts) else None
            outputs = compute(inputs)
            if behind is not None:
                behind.result()
            behind = writer.submit(write, part, inputs, outputs)
        if behind is not None:
            behind.result()
