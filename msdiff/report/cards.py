"""Model card and datasheet: what a run's own record answers of the questions that such papers ask.

The frames (`model_card.md.j2`, `datasheet.md.j2`) hold the headings and the questions that concern all systems. Each
part answers with the macros of `card.md.j2` in its folder, by the question's name. What no part answers is said to be
unanswered, never guessed; patients appear by number, never by name.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd

from msdiff.report.compute.sentences import about_training
from msdiff.report.facts import text
from msdiff.report.methods import methods
from msdiff.report.parts import ReportPart
from msdiff.report.phrases import capital, count, estimate, listed, number
from msdiff.report.record import Record
from msdiff.report.run import SPLITS, simulated
from msdiff.report.summary import warning
from msdiff.report.systems import PARTS, say
from msdiff.report.templates import environment
from msdiff.report.words import write

HERE = Path(__file__).parent
MODEL_CARD, DATASHEET, ANSWERS = "model_card.md.j2", "datasheet.md.j2", "card.md.j2"
UNANSWERED = "*Not in the run's record: to be answered by who releases it.*"
EM_DASH = "\N{EM DASH}"


def model_card(record: Record, parts: Sequence[ReportPart] = PARTS) -> str:
    """The model card of all that a run trained, under the headings of MI-CLAIM-GEN, as Markdown.

    Miao et al., The MI-CLAIM-GEN checklist for generative artificial intelligence in health, arXiv 2403.02558 and
    Nature Medicine 2025, which extends MI-CLAIM (Norgeot et al., Nature Medicine 2020). The headings are the
    checklist's, the questions are its items in our words.
    """
    return _card(MODEL_CARD, record, parts)


def datasheet(record: Record, parts: Sequence[ReportPart] = PARTS) -> str:
    """The datasheet of all that a run sampled, under the headings of Gebru et al., Datasheets for Datasets, 2021."""
    return _card(DATASHEET, record, parts)


def _card(name: str, record: Record, parts: Sequence[ReportPart]) -> str:
    run = record.run._replace(generators=tuple(record.generators or record.manifests) or record.run.generators)
    record = record._replace(run=run)
    parts = [part for part in parts if part.ran(run) or part.kept(record)]
    made = environment()
    made.globals |= {
        "record": record,
        "run": run,
        "splits": SPLITS,
        "simulated": simulated(run),
        "warning": warning(run, parts),
        "code": code(record),
        "seeds": seeds(record),
        "digests": digests(record),
        "item": item,
        "say": lambda table: say(table, run, parts),
        "method": dict(methods(run, parts)).get,
        "training_of": lambda rule, what: about_training(run, rule, what),
        "rows": run.ours,
        "grid": grid,
        **{function.__name__: function for function in (capital, count, listed, number, write)},
    }
    answers = _answers(record, parts, made)
    made.globals |= {
        "answers": answers,
        "tell": lambda name: "\n\n".join(["", *answers(name), ""]),
        "ask": lambda question, name: item(question, " ".join(answers(name))),
    }
    return re.sub(r"\n\s*\n", "\n\n", made.from_string(_read(HERE / name)).render()).strip() + "\n"


def _answers(record: Record, parts: Sequence[ReportPart], made: jinja2.Environment) -> Callable[[str], list[str]]:
    """What each part answers to a question, by its name, in their order; parts without an answer are left out."""
    modules = [
        made.from_string(_read(part.folder / ANSWERS)).make_module(dict(part.card(record)))
        for part in parts
        if (part.folder / ANSWERS).is_file()
    ]

    def answers(name: str) -> list[str]:
        told = [str(getattr(module, name)()).strip() for module in modules if hasattr(module, name)]
        return [answer for answer in told if answer]

    return answers


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def item(question: str, answer: str | None = "", table: str = "", caller: Callable[[], str] | None = None) -> str:
    """A question and its answer, or that it is unanswered; a table follows the answer."""
    told = " ".join((answer or "" if caller is None else caller()).split())
    return f"\n\n**{question}** {told or UNANSWERED}\n\n{table}\n\n"


def grid(table: pd.DataFrame, keys: Sequence[str], metrics: Sequence[str]) -> str:
    """A table as Markdown: keys in words, estimates with their intervals.

    Columns without a value are left out; empty without rows or columns.
    """
    shown = [name for name in metrics if name in table and table[name].notna().any()]
    keys = [name for name in keys if name in table]
    if table.empty or not [*keys, *shown]:
        return ""
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
    found: dict[str, Any] = record.provenance["seeds"]
    return "; ".join(f"`{path}` {text(value)}" for path, value in found.items())


def digests(record: Record) -> str:
    """The digests of arrays, then of files by their kind and name, in one sentence; empty where none are recorded."""
    found: dict[str, Any] = record.provenance.get("sha256", {})
    held = [f"{write(name)} `{value}`" for name, value in found.items() if isinstance(value, str)]
    held += [
        f"{kind} {name} `{value}`"
        for kind, named in found.items()
        if not isinstance(named, str)
        for name, value in named.items()
    ]
    return "; ".join(held) + "." if held else ""
