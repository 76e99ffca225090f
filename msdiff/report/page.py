"""The report: one page of HTML that holds its styles, tables and figures, and opens from disk without a network."""

import base64
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup, escape
from PIL import Image

from msdiff.report import sentences
from msdiff.report.provenance import find
from msdiff.report.scan_pictures import LEGEND
from msdiff.report.scans import ScanPart, ScanParts
from msdiff.report.words import write
from msdiff.tables.layout import OURS, PAPER

HERE = Path(__file__).parent
# Order of the page: a section's title, its tables, its figures. What is not listed comes last.
SECTIONS: list[tuple[str, list[str], list[str]]] = [
    ("Cohort", ["cohort"], []),
    ("Generated follow-ups", ["image_quality"], ["follow_ups", "image_quality"]),
    ("Detection of new lesions", ["augmentation"], ["augmentation"]),
    ("Preprocessing", ["quality"], ["preprocessing"]),
    ("Training and compute", ["compute"], ["losses"]),
]
TITLES = {
    "augmentation": "Detectors by the ratio of real to synthetic slices",
    "image_quality": "Generated against real follow-ups",
    "cohort": "New lesions by treatment arm",
    "quality": "Quality control of the scans",
    "compute": "Hours and memory by rule",
}
# The section that shows the scans themselves.
SCANS_SECTION = "Preprocessing"
FIGURE_SENTENCES = {
    "follow_ups": "Pictures show whether a lesion is where it was asked for; a few slices do not say how often it is.",
    "preprocessing": "The worst by one measure: a fault that both scans of a patient share does not show here.",
    "augmentation": "A rise with the ratio shows a benefit only where the intervals separate.",
    "image_quality": "A copy has little error outside the lesions, too; the lesion panels tell generators from copies.",
    "losses": "A loss that falls shows that a network learned something, not that it learned what a reader wants.",
}
# Settings that say what was counted, wherever they stand in the config.
CONVENTIONS = ("connectivity", "matcher", "min_overlap", "threshold", "unit", "mode", "confidence_level")
VERSIONS = ("torch", "monai", "antspyx", "nibabel", "numpy", "scipy", "pandas", "scikit-image", "snakemake")
EN_DASH = "\N{EN DASH}"
EMPTY = EN_DASH
COUNTS = {"n", "seeds", "jobs", "n_real", "n_synthetic", "correct", "false_positives", "false_negatives", "flagged"}


class Cell(NamedTuple):
    """What stands in one cell: text, and its interval in smaller type."""

    text: str
    interval: str = ""
    number: bool = True


class Row(NamedTuple):
    """A row of a table on the page; the first cell tells the source and, below it, the cohort."""

    cells: list[Cell]
    is_paper: bool
    cohort: str


class TablePart(NamedTuple):
    """A table on the page: its name, number, title, heads, rows, what all rows share, caption, what it shows."""

    name: str
    number: int
    title: str
    heads: list[str]
    rows: list[Row]
    same: str
    caption: Markup
    sentence: str


class FigurePart(NamedTuple):
    """A figure on the page: PNG in base64, title and caption as its file carries them, and what it shows."""

    name: str
    number: int
    title: str
    caption: str
    data: str
    sentence: str


class Section(NamedTuple):
    """A part of the page."""

    title: str
    anchor: str
    tables: list[TablePart]
    figures: list[FigurePart]
    scans: list[ScanPart]


def report_page(
    tables: Mapping[str, pd.DataFrame],
    figures: Mapping[str, str | Path],
    provenance: Mapping[str, Any],
    splits: Mapping[str, int],
    scans: ScanParts | None = None,
) -> str:
    """The page, as HTML.

    `tables` and `figures` (PNG files with a title and a caption in them) by name, `provenance` as
    msdiff.report.provenance writes it, `splits` the patients per split (empty where they are not known), `scans` the
    scans for quality control.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    config = provenance["config"]
    return environment.get_template("page.html.j2").render(
        title="msdiff: results of this run",
        warning=sentences.warning(tables),
        facts=_facts(tables, provenance, splits, scans),
        sections=_sections(tables, figures, config, scans.scans if scans else []),
        conventions=[*_fixed_conventions(), *_chosen_conventions(config)],
        legend=LEGEND,
        packages=provenance["packages"],
        provenance=provenance,
        config=[(path, value) for path, value in _leaves(config)],
    )


def read_figures(folder: str | Path) -> dict[str, Path]:
    """The PNG files of a folder by name."""
    return {path.stem: path for path in sorted(Path(folder).glob("*.png"))}


def table_rows(table: pd.DataFrame) -> tuple[list[str], list[Row]]:
    """Heads and rows of a table: an estimate and its interval in one cell, the papers' rows under ours by key."""
    metrics = [name for name in table.columns if f"{name}_lo" in table.columns]
    limits = {f"{name}{end}" for name in metrics for end in ("_lo", "_hi")}
    hidden = limits | {"cohort"} | set(shared_keys(table))
    shown = [name for name in table.columns if name not in hidden and not table[name].isna().all()]
    rows = [
        Row([_cell(record, name) for name in shown], record["source"] == PAPER, write(record.get("cohort", "")))
        for record in _beside(table).to_dict("records")
    ]
    return [write(name) for name in shown], rows


def shared_keys(table: pd.DataFrame) -> dict[str, str]:
    """The keys, other than source and cohort, that have one value in a table of several rows."""
    keys = [name for name in ("generator", "architecture") if name in table.columns and len(table) > 1]
    return {name: table[name].iloc[0] for name in keys if table[name].nunique(dropna=False) == 1}


def render_caption(name: str, config: Mapping[str, Any]) -> Markup:
    """A table's caption (captions/<name>.rst) as HTML, filled with the run's settings; empty where it has none.

    The same file is the caption in Snakemake's own report, hence the name `snakemake` in it.
    """
    path = HERE / "captions" / f"{name}.rst"
    if not path.is_file():
        return Markup("")
    filled = jinja2.Environment(undefined=jinja2.StrictUndefined).from_string(path.read_text(encoding="utf-8"))
    text = filled.render(snakemake=SimpleNamespace(config=config))
    return Markup(re.sub(r"``(.+?)``", r"<code>\1</code>", str(escape(text))))


def _sections(
    tables: Mapping[str, pd.DataFrame],
    figures: Mapping[str, str | Path],
    config: Mapping[str, Any],
    scans: list[ScanPart],
) -> list[Section]:
    listed = {name for _, names, _ in SECTIONS for name in names}
    drawn = {name for _, _, names in SECTIONS for name in names}
    further = ("Further results", [n for n in tables if n not in listed], [n for n in figures if n not in drawn])
    sections = []
    n_tables = n_figures = 0
    for title, table_names, figure_names in [*SECTIONS, further]:
        table_parts, figure_parts = [], []
        for name in table_names:
            if name in tables:
                n_tables += 1
                table_parts.append(_table(name, n_tables, tables[name], config))
        for name in figure_names:
            if name in figures:
                n_figures += 1
                figure_parts.append(_figure(name, n_figures, figures[name]))
        own_scans = scans if title == SCANS_SECTION else []
        if table_parts or figure_parts or own_scans:
            sections.append(Section(title, title.lower().replace(" ", "-"), table_parts, figure_parts, own_scans))
    return sections


def _table(name: str, number: int, table: pd.DataFrame, config: Mapping[str, Any]) -> TablePart:
    heads, rows = table_rows(table)
    same = ", ".join(f"{write(key)} {write(value)}" for key, value in shared_keys(table).items())
    return TablePart(
        name=name,
        number=number,
        title=TITLES.get(name, write(name)),
        heads=heads,
        rows=rows,
        same=same,
        caption=render_caption(name, config),
        sentence=sentences.say(name, table),
    )


def _figure(name: str, number: int, path: str | Path) -> FigurePart:
    with Image.open(path) as image:
        text = image.info
    title, caption = text.get("Title", write(name)), text.get("Description", "")
    data = base64.b64encode(Path(path).read_bytes()).decode()
    return FigurePart(name, number, title, caption, data, FIGURE_SENTENCES.get(name, ""))


def _beside(table: pd.DataFrame) -> pd.DataFrame:
    """Rows in our order, each of the papers' under the last of ours that has its key; the others at the end."""
    keys = [key for key in ("architecture", "real_synthetic", "arm", "region", "rule") if key in table.columns]
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
        return Cell(write(value), number=name == "real_synthetic")
    if pd.isna(value):
        return Cell(EMPTY)
    lo, hi = record.get(f"{name}_lo", np.nan), record.get(f"{name}_hi", np.nan)
    interval = "" if pd.isna(lo) or pd.isna(hi) else f"{_digits(lo, name)}{EN_DASH}{_digits(hi, name)}"
    return Cell(_digits(value, name), interval)


def _digits(value: float, name: str) -> str:
    """A number as the page shows it: counts as they are, all else with three significant digits."""
    if name in COUNTS or value == 0 or abs(value) >= 1000:
        return f"{value:.6g}" if float(value).is_integer() else f"{value:.1f}"
    text = f"{value:#.3g}"
    # 1.20e-05 stays; 123. does not.
    return text.rstrip(".")


def _facts(
    tables: Mapping[str, pd.DataFrame],
    provenance: Mapping[str, Any],
    splits: Mapping[str, int],
    scans: ScanParts | None,
) -> list[tuple[str, str]]:
    """The run in a few lines: name and value."""
    git = provenance["git"]
    code = f"msdiff {provenance['msdiff']}"
    if git is not None:
        code += f", commit {git['commit'][:10]}" + (" with uncommitted changes" if git["dirty"] else "")
    facts = []
    if "cohort" in tables:
        ours = tables["cohort"][tables["cohort"]["source"] == OURS]
        total = ours[ours["arm"] == "all"]
        names = ", ".join(ours["cohort"].unique())
        facts.append(("Cohort", f"{names}: {int(total['n'].sum())} patients with a follow-up"))
    if splits:
        facts.append(("Patients", ", ".join(f"{count} {split}" for split, count in splits.items())))
    if scans is not None:
        facts.append(("Flagged scans", sentences.about_flagged(scans)))
        facts.append(("Excluded scans", sentences.about_excluded(scans)))
    seeds = provenance["seeds"]
    if seeds:
        facts.append(("Seeds", ", ".join(f"{path} {_text(value)}" for path, value in seeds.items())))
    facts += [("Code", code), ("Device", f"{provenance['device']}; {provenance['platform']}")]
    if "compute" in tables:
        ours = tables["compute"][tables["compute"]["source"] == OURS]
        hours, gpu_hours = ours["wall_hours"].sum(), ours["gpu_hours"].sum(skipna=False)
        gpu = "GPU hours not recorded" if pd.isna(gpu_hours) else f"{gpu_hours:.3g} GPU hours"
        facts.append(("Hours", f"{hours:.3g} summed over {int(ours['jobs'].sum())} jobs, {gpu}"))
    versions = provenance["packages"]
    named = [f"{name} {versions[name]}" for name in VERSIONS if name in versions]
    facts.append(("Versions", ", ".join([f"Python {provenance['python']}", *named])))
    facts.append(("Date", str(provenance["date_utc"])))
    return facts


def _fixed_conventions() -> list[tuple[str, str]]:
    return [
        ("unit of all statistics", "the patient; slices, samples and seeds of a patient are averaged first"),
        ("change at a session", "new or enlarging lesion since the patient's session before it"),
        ("lesions of the cohort table", "components of the change mask, 26-connected in scans, 8-connected in slices"),
        ("empty masks", "a ratio without a denominator is left out of a mean, and empty where it stands alone"),
        ("intensities in error measures", "in [0, 1], from [-1, 1] of the normalised scans"),
    ]


def _chosen_conventions(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = find(dict(config), lambda key: key in CONVENTIONS or key.startswith("min_"))
    return [(path, _text(value)) for path, value in found]


def _leaves(values: Any, path: str = "") -> Sequence[tuple[str, str]]:
    """Every setting as dotted path and text."""
    if isinstance(values, dict) and values:
        return [leaf for key, value in values.items() for leaf in _leaves(value, f"{path}.{key}" if path else str(key))]
    return [(path, _text(values))]


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_text(part) for part in value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_text(part)}" for key, part in value.items()) or "none"
    return "none" if value is None else str(value)
