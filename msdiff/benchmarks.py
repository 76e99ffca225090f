"""The benchmark files that Snakemake leaves: what every job took, and in extended ones what it was given."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from msdiff.errors import BadInput

R = TypeVar("R")


def rule_of(path: Path) -> str:
    """The rule of a benchmark file, by its path in the folder of all.

    >>> rule_of(Path("register/phantom/sub-1.tsv")), rule_of(Path("cohort.tsv"))
    ('register', 'cohort')
    """
    return path.parts[0].removesuffix(".tsv")


def read_benchmarks(
    folder: str | Path, read: Callable[[dict[str, str]], R], name: Callable[[Path], str] = rule_of
) -> dict[str, list[R]]:
    """What `read` makes of each row, by rule; the folder holds one folder, or one file <rule>.tsv, per rule.

    `name` says under what name a file's rows stand, from its path in the folder. Raises BadInput where a file cannot be
    read, or `read` does not find in a row what it expects.
    """
    benchmarks: dict[str, list[R]] = {}
    for path in sorted(Path(folder).glob("**/*.tsv")):
        rule = name(path.relative_to(folder))
        try:
            with path.open(encoding="utf-8", newline="") as file:
                # Settings stand in extended benchmarks as they are, quotes included.
                table = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
                if table.fieldnames is None:
                    raise ValueError("it is empty")
                rows = [read(row) for row in table]
        except (OSError, ValueError, SyntaxError, KeyError, AttributeError, TypeError) as error:
            raise BadInput(f"{path}: expected a benchmark file of Snakemake, cannot read it ({error})") from error
        benchmarks.setdefault(rule, []).extend(rows)
    return benchmarks
