"""Tables as the page shows them: an estimate with its interval in one cell, the papers' rows beside ours."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup, escape

from msdiff.report.words import write
from msdiff.tables.layout import OURS, PAPER

CAPTIONS = Path(__file__).parent / "captions"
EN_DASH = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
EMPTY = EN_DASH
COUNTS = {
    *("n", "seeds", "jobs", "n_real", "n_synthetic", "n_training", "n_lesions", "correct", "false_positives"),
    *("n_positive", "n_voxels", "n_positive_voxels"),
    *(
        "false_negatives",
        "flagged",
        "leaked_patients",
        "readers",
        "cases",
        "repeats",
        "n_reference",
        "n_reference_slices",
    ),
}
# What a row is about: a paper's row stands under ours with the same.
KEYS = (
    *("architecture", "real_synthetic", "arm", "region", "rule", "variant", "measure", "size", "metric", "kind"),
    *("method", "quantity", "bin"),
)
# Keys that are named once where all rows share them.
SHARED_KEYS = ("cohort", "generator", "architecture")


class Cell(NamedTuple):
    """What stands in one cell: text, and its interval in smaller type."""

    text: str
    interval: str = ""
    number: bool = True


class Row(NamedTuple):
    """A row of a table on the page; where the first cell tells the source, the cohort stands below it."""

    cells: list[Cell]
    is_paper: bool
    cohort: str


def table_rows(table: pd.DataFrame, columns: Sequence[str] | None = None) -> tuple[list[str], list[Row]]:
    """Heads and rows of a table, or of some of its columns, the papers' rows under ours by key."""
    metrics = [name for name in table.columns if f"{name}_lo" in table.columns]
    limits = {f"{name}{end}" for name in metrics for end in ("_lo", "_hi")}
    hidden = limits | {"cohort"} | set(shared_keys(table))
    if not beside_papers(table):
        hidden.add("source")
    wanted = [name for name in table.columns if columns is None or name in columns]
    shown = [name for name in wanted if name not in hidden and not table[name].isna().all()]
    rows = [
        Row([_cell(record, name) for name in shown], record["source"] == PAPER, write(record.get("cohort", "")))
        for record in _beside(table).to_dict("records")
    ]
    return [write(name) for name in shown], rows


def beside_papers(table: pd.DataFrame) -> bool:
    """Whether a table has rows of several sources or cohorts, so that each row must tell its own."""
    return any(table[name].nunique(dropna=False) > 1 for name in ("source", "cohort") if name in table.columns)


def shared_keys(table: pd.DataFrame) -> dict[str, str]:
    """The keys, other than the source, that have one value in a table of several rows."""
    keys = [name for name in SHARED_KEYS if name in table.columns and len(table) > 1]
    return {name: table[name].iloc[0] for name in keys if table[name].nunique(dropna=False) == 1}


def render_caption(name: str, config: Mapping[str, Any]) -> Markup:
    """A table's caption (captions/<name>.rst) as HTML, filled with the run's settings; empty where it has none.

    The same file is the caption in Snakemake's own report, hence the name `snakemake` in it.
    """
    path = CAPTIONS / f"{name}.rst"
    if not path.is_file():
        return Markup("")
    filled = jinja2.Environment(undefined=jinja2.StrictUndefined).from_string(path.read_text(encoding="utf-8"))
    text = filled.render(snakemake=SimpleNamespace(config=config))
    return Markup(re.sub(r"``(.+?)``", r"<code>\1</code>", str(escape(text))))


def _beside(table: pd.DataFrame) -> pd.DataFrame:
    """Rows in our order, each of the papers' under the last of ours that has its key; the others at the end."""
    table = table.reset_index(drop=True)
    keys = [key for key in KEYS if key in table.columns]
    if not keys:
        return table
    ours, papers = table[table["source"] == OURS], table[table["source"] == PAPER]
    order: list[Any] = []
    left = list(papers.index)
    for index in ours.index:
        order.append(index)
        later = ours.loc[ours.index > index, keys]
        if (later == ours.loc[index, keys]).all(axis=1).any():
            continue
        matching = [i for i in left if (papers.loc[i, keys] == ours.loc[index, keys]).all()]
        order += matching
        left = [i for i in left if i not in matching]
    return table.loc[[*order, *left]]


def _cell(record: Mapping[str, Any], name: str) -> Cell:
    value = record[name]
    if isinstance(value, str):
        return Cell(write(value, name), number=name == "real_synthetic")
    if pd.isna(value):
        return Cell(EMPTY)
    lo, hi = record.get(f"{name}_lo", np.nan), record.get(f"{name}_hi", np.nan)
    # A dash between negative numbers would read as one more minus.
    between = f" to {MINUS}" if not pd.isna(hi) and hi < 0 else " to " if not pd.isna(lo) and lo < 0 else EN_DASH
    ends = (_digits(lo, name), _digits(abs(hi) if hi < 0 else hi, name)) if not (pd.isna(lo) or pd.isna(hi)) else ()
    return Cell(_digits(value, name), between.join(ends))


def _digits(value: float, name: str) -> str:
    """A number as the page shows it: counts as they are, all else with three significant digits."""
    if name in COUNTS or value == 0 or abs(value) >= 1000:
        text = f"{value:.6g}" if float(value).is_integer() else f"{value:.1f}"
    else:
        # 1.20e-05 stays; 123. does not.
        text = f"{value:#.3g}".rstrip(".")
    return text.replace("-", MINUS, 1) if text.startswith("-") else text
