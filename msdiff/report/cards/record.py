"""What the cards are written from, and how they are written: Markdown, a heading per part and a line per question."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from msdiff.forecasting.slabs import Slabs
from msdiff.report.facts import text
from msdiff.report.phrases import estimate, number
from msdiff.report.run import Run
from msdiff.report.words import write

UNANSWERED = "*Not in the run's record: to be answered by who releases it.*"
EM_DASH = "\N{EM DASH}"


class Weights(NamedTuple):
    """Trained weights: their own description, their number of values, their digest."""

    description: Mapping[str, Any]
    n_values: int
    sha256: str


class Record(NamedTuple):
    """A run's record.

    run          tables, config, patients per split
    provenance   as msdiff.report.provenance writes it
    scans        the stack's list of scans
    generators   weights of each generator by name
    manifests    rows of the synthetic follow-ups of each generator by name
    forecasters  weights of each forecaster by name; empty where the run has none
    slabs        what they learned from; None without forecasts
    forecasts    rows of the forecasts by purpose
    """

    run: Run
    provenance: Mapping[str, Any]
    scans: pd.DataFrame
    generators: Mapping[str, Weights]
    manifests: Mapping[str, pd.DataFrame]
    forecasters: Mapping[str, Weights] = MappingProxyType({})
    slabs: Slabs | None = None
    forecasts: Mapping[str, pd.DataFrame] = MappingProxyType({})


class Item(NamedTuple):
    """A question and its answer; without one it is said to be unanswered. `table` follows the answer."""

    question: str
    answer: str = ""
    table: str = ""


class Part(NamedTuple):
    """A heading and what stands under it."""

    title: str
    items: Sequence[Item]


def markdown(title: str, opening: str, parts: Sequence[Part]) -> str:
    """A card as Markdown."""
    blocks = [f"# {title}", opening]
    for part in parts:
        blocks.append(f"## {part.title}")
        for item in part.items:
            blocks.append(f"**{item.question}** {item.answer or UNANSWERED}")
            blocks += [item.table] if item.table else []
    return "\n\n".join(blocks) + "\n"


def grid(table: pd.DataFrame, keys: Sequence[str], metrics: Sequence[str]) -> str:
    """A table as Markdown: keys in words, estimates with their intervals; columns without a value are left out."""
    shown = [name for name in metrics if name in table and table[name].notna().any()]
    keys = [name for name in keys if name in table]
    lines = [[write(name) for name in [*keys, *shown]], ["---"] * (len(keys) + len(shown))]
    for _, row in table.iterrows():
        cells = [write(row[name], name) if isinstance(row[name], str) else number(row[name]) for name in keys]
        cells += [EM_DASH if np.isnan(row[name]) else estimate(row, name) for name in shown]
        lines.append(cells)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def code(record: Record) -> str:
    """Version, commit and settings of the code, in one sentence."""
    provenance = record.provenance
    git = provenance["git"]
    commit = "no commit recorded"
    if git is not None:
        commit = f"commit {git['commit']}" + (" with uncommitted changes" if git["dirty"] else "")
    return f"msdiff {provenance['msdiff']} ({commit}), config SHA-256 {provenance['config_sha256']}."


def seeds(record: Record) -> str:
    """All seeds of the run by their place in the config."""
    found = record.provenance["seeds"]
    return "; ".join(f"`{path}` {text(value)}" for path, value in found.items())
