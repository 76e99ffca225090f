"""The jobs of a run before it starts, read from what `snakemake --dry-run` prints.

A dry-run tells of each job its files, threads, resources and command, and which jobs are submitted together. It does
not tell which are not submitted at all; in our workflow those are the rules without a benchmark, and a test holds that.
"""

import re
import shlex
from collections.abc import Sequence
from typing import NamedTuple

from msdiff.cluster.workflow import ask_snakemake

# Without a limit a dry-run prints no more threads than this machine has.
UNLIMITED = "100000"
# A block opens with its time; jobs that are submitted together are indented under the block that names their group.
BLOCK = re.compile(r"^( *)\[\w{3} \w{3} +\d+ [\d:]{8} \d{4}\] ?", re.MULTILINE)
RULE = re.compile(r"\s*(?:local)?(?:rule|checkpoint) (\w+):\n")
FIELD = re.compile(r"^ *(input|output|benchmark|wildcards|threads|resources): (.*)$", re.MULTILINE)


class PlannedJob(NamedTuple):
    """One job as it would run.

    benchmark       where its time will be recorded
    options         of its command, by name, with their values
    group           number of the submission that it shares with others, None where it has its own
    """

    rule: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    benchmark: str | None
    wildcards: dict[str, str]
    threads: int
    resources: dict[str, str]
    options: dict[str, tuple[str, ...]]
    group: int | None

    @property
    def local(self) -> bool:
        """Whether it runs beside Snakemake; those that are submitted have a benchmark."""
        return self.benchmark is None

    @property
    def gpus(self) -> int:
        """GPUs asked for."""
        return int(self.resources.get("gpu", 0))

    @property
    def gpu_model(self) -> str | None:
        """Their type, None where any serves."""
        model = self.resources.get("gpu_model", "None")
        return None if model in ("None", "") else model


def dry_run(arguments: Sequence[str]) -> str:
    """What a dry-run with these arguments prints; BadInput with Snakemake's own message where it will not plan."""
    return ask_snakemake(["--dry-run", "--printshellcmds", "--cores", UNLIMITED], arguments)


def read_jobs(text: str) -> list[PlannedJob]:
    """The jobs of a dry-run's text, in its order; none where there is nothing to do."""
    jobs, group = [], 0
    pieces = BLOCK.split(text.rpartition("\nJob stats:")[0])
    for indent, block in zip(pieces[1::2], pieces[2::2], strict=True):
        if block.startswith("Group job "):
            group += 1
        elif rule := RULE.match(block):
            about, _, command = block.partition("Shell command:")
            jobs.append(_job(rule[1], dict(FIELD.findall(about)), command, group if indent else None))
    return jobs


def _job(rule: str, fields: dict[str, str], command: str, group: int | None) -> PlannedJob:
    return PlannedJob(
        rule,
        inputs=tuple(filter(None, fields.get("input", "").split(", "))),
        outputs=tuple(filter(None, fields.get("output", "").split(", "))),
        benchmark=fields.get("benchmark"),
        wildcards=_pairs(fields.get("wildcards", "")),
        threads=int(fields.get("threads", 1)),
        resources=_pairs(fields.get("resources", "")),
        options=_options(command),
        group=group,
    )


def _pairs(text: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in text.split(", ") if "=" in part)


def _options(command: str) -> dict[str, tuple[str, ...]]:
    """The options of a shell command, each with the words that follow it; what is redirected is left out."""
    options: dict[str, list[str]] = {}
    values: list[str] = []
    for word in shlex.split(command.replace("\\\n", " ")):
        if word.startswith(">"):
            break
        if word.startswith("--"):
            values = options.setdefault(word[2:], [])
        else:
            values.append(word)
    return {name: tuple(words) for name, words in options.items()}
