"""How far a run is, on one page: a table of the rules, the jobs at work, what waits, what failed and why."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

from msdiff.cluster.progress import Failure, RunProgress, Submission, group_title, progress_line, tail

LOCKS = Path(".snakemake/locks")
EVENTS = Path(".snakemake/log")
COMMAND = re.compile(r"^ *Command: \S+ (.*)$", re.MULTILINE)
LINES_OF_HEADER = 40
# The page holds on one screen however large the run; failures take three lines each, and the room that is left.
LINES = 60
MOST_RUNNING, MOST_REASONS, FEWEST_FAILURES = 6, 3, 3
WIDTH = 160


def overview(progress: RunProgress, root: Path, now: float) -> list[str]:
    """The page's lines; `now` in seconds since 1970."""
    done, total = (sum(column) for column in zip(*progress.counts.values(), strict=True))
    summary = f"{done} of {total} jobs done ({100 * done // total} %)"
    if progress.running or progress.waiting:
        summary += f"; Slurm jobs: {len(progress.running)} running, {len(progress.waiting)} waiting"
    summary += f"; failed: {len(progress.failures)}" if progress.failures else ""
    lines = [summary, *_controller(root, now, done == total), "", *_table(progress)]
    lines += _section("running", _running(progress, root), MOST_RUNNING)
    lines += _section("waiting", _waiting(progress), MOST_REASONS)
    room = (LINES - len(lines)) // 3 - 1
    lines += _section("failed", map(_failure, progress.failures), max(FEWEST_FAILURES, room))
    return lines


def _controller(root: Path, now: float, complete: bool) -> list[str]:
    """Whether a Snakemake holds the folder, when it last had something to say, and how it was started."""
    for path in sorted((root / EVENTS).glob("*.log"), reverse=True):
        with path.open(errors="replace") as log:
            command = COMMAND.search("".join(islice(log, LINES_OF_HEADER)))
        # Snakemake leaves logs of questions as well; only a run tells its command.
        if command is not None:
            break
    else:
        return ["controller: none has run here"]
    held = any((root / LOCKS).glob("*"))
    advice = "; if none is, `snakemake --unlock` frees the folder" if held else "; start it again to go on"
    said = f"last event {_ago(now - path.stat().st_mtime)} ago" + ("" if complete else advice)
    return [f"controller: {'at work' if held else 'none'}, {said}", f"  started as: snakemake {command[1]}"]


def _ago(seconds: float) -> str:
    """`5 min`; in the largest unit that fits twice."""
    for unit, length in (("days", 86400), ("hours", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def _table(progress: RunProgress) -> list[str]:
    """One row per rule; Slurm jobs that run several rules have rows of their own, above."""
    running = Counter(map(_row, progress.running))
    waiting = Counter(map(_row, progress.waiting))
    failed = Counter(failure.rule for failure in progress.failures)
    others = sorted((set(running) | set(waiting) | set(failed)) - set(progress.counts))
    rows: list[list[object]] = [
        [group_title(name, progress.counts), "", "", running[name], waiting[name], failed[name]] for name in others
    ]
    rows += [
        [rule, done, total, running[rule], waiting[rule], failed[rule]]
        for rule, (done, total) in progress.counts.items()
    ]
    width = max(len(str(row[0])) for row in rows)
    head = f"{'rule':<{width}}  {'done':>6} {'of':>6} {'running':>8} {'waiting':>8} {'failed':>7}"
    return [head] + [
        f"{name:<{width}}  {done:>6} {total:>6} {runs or '-':>8} {waits or '-':>8} {fails or '-':>7}"
        for name, done, total, runs, waits, fails in rows
    ]


def _row(submission: Submission) -> str:
    """Which row of the table a submission counts in."""
    return submission.name if submission.grouped else submission.name.removeprefix("rule_").partition("/")[0]


def _section(title: str, entries: Iterable[Sequence[str]], most: int) -> list[str]:
    """A headed list of entries of one or more lines, and how many more there are."""
    found = list(entries)
    if not found:
        return []
    lines = [f"  {line}"[:WIDTH] for entry in found[:most] for line in entry]
    more = [f"  and {len(found) - most} more"] if len(found) > most else []
    return ["", title, *lines, *more]


def _running(progress: RunProgress, root: Path) -> list[list[str]]:
    """A line per Slurm job at work, rare rules first: a training is not lost among a hundred shards."""
    often = Counter(map(_row, progress.running))
    ordered = sorted(progress.running, key=lambda each: (often[_row(each)], each.number))
    return [[_at_work(submission, progress, root)] for submission in ordered]


def _at_work(submission: Submission, progress: RunProgress, root: Path) -> str:
    slurm, jobs = submission.slurm, submission.jobs
    if submission.grouped:
        done = sum(all((root / output).exists() for output in job.outputs) for job in jobs)
        title, said = group_title(submission.name, progress.counts), f"{done} of {len(jobs)} jobs done"
    else:
        rule, _, wildcards = submission.name.removeprefix("rule_").partition("/")
        title = f"{rule} {jobs[0].wildcards if jobs else wildcards}"
        said = progress_line("".join(tail(root / log) for job in jobs for log in job.logs))
    return "  ".join(
        filter(None, [str(submission.number), title, slurm.nodes, f"{slurm.elapsed} of {slurm.limit}", said])
    )


def _waiting(progress: RunProgress) -> list[list[str]]:
    """A line per reason that Slurm gives, the most frequent first."""
    reasons: dict[str, Counter[str]] = {}
    for submission in progress.waiting:
        rule = group_title(_row(submission), progress.counts)
        reasons.setdefault(submission.slurm.reason or submission.slurm.state, Counter())[rule] += 1
    ordered = sorted(reasons.items(), key=lambda reason: -reason[1].total())
    return [
        [f"{reason}: " + ", ".join(f"{rule} {count}" for rule, count in rules.most_common())]
        for reason, rules in ordered
    ]


def _failure(failure: Failure) -> list[str]:
    lines = [f"{failure.title}  {failure.cause}", f"    {failure.error}", f"    log: {failure.log}; {failure.advice}"]
    return lines if failure.error else [lines[0], lines[2]]
