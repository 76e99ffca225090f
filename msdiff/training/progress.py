"""When a training tells of itself, and when it stops."""

import logging
import math
import signal
import time

from msdiff import processes

log = logging.getLogger(__name__)

# Of the time limit, left for the start of the process and for writing its results.
RESERVED_SHARE = 0.05
# A line of progress: not more often than the one at rows of the history, not more seldom than the other between them.
SECONDS_BETWEEN_ROWS = 5.0
SECONDS_OF_SILENCE = 60.0


class Progress:
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


class Watch:
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
