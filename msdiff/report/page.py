"""The report: one page of HTML that holds its styles, tables and figures, and opens from disk without a network."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import pandas as pd
from markupsafe import Markup
from PIL import Image

from msdiff.report.facts import conventions, facts, leaves
from msdiff.report.methods import methods
from msdiff.report.page_tables import Row, beside_papers, render_caption, shared_keys, table_rows
from msdiff.report.scan_pictures import LEGEND
from msdiff.report.scans import ScanPart, ScanParts
from msdiff.report.sections import (
    FIGURE_SENTENCES,
    FURTHER,
    LISTS,
    NOTES,
    READERS_SECTION,
    SCANS_SECTION,
    SECTIONS,
    Section,
)
from msdiff.report.sentences import Run, say, summary, warning
from msdiff.report.words import write
from msdiff.tables.registry import declared

HERE = Path(__file__).parent
NOTHING: Mapping[str, str] = {}


class Grid(NamedTuple):
    """Heads and rows of a table, and whether the first column tells the source of each row."""

    heads: list[str]
    rows: list[Row]
    sources: bool


class TablePart(NamedTuple):
    """A table on the page: what it shows comes before it, its caption after; `whole` has the columns left out."""

    name: str
    number: int
    title: str
    main: Grid
    whole: Grid | None
    same: str
    caption: Markup
    sentence: str
    link: str


class FigurePart(NamedTuple):
    """A figure on the page: PNG in base64, title and caption as its file carries them, and what it shows."""

    name: str
    number: int
    title: str
    caption: str
    data: str
    sentence: str


class Link(NamedTuple):
    """A file beside the page."""

    href: str
    text: str


class SectionPart(NamedTuple):
    """A section of the page."""

    number: int
    title: str
    anchor: str
    note: str
    tables: list[TablePart]
    figures: list[FigurePart]
    links: list[Link]
    scans: list[ScanPart]


class Beside(NamedTuple):
    """Files beside the page, relative to it: tables by name, pages for readers and cards by their title."""

    tables: Mapping[str, str] = NOTHING
    reader_pages: Mapping[str, str] = NOTHING
    cards: Mapping[str, str] = NOTHING


def report_page(
    tables: Mapping[str, pd.DataFrame],
    figures: Mapping[str, str | Path],
    provenance: Mapping[str, Any],
    splits: Mapping[str, int],
    scans: ScanParts | None = None,
    beside: Beside = Beside(),  # noqa: B008
) -> str:
    """The page, as HTML.

    `tables` and `figures` (PNG files with a title and a caption in them) by name, `provenance` as
    msdiff.report.provenance writes it, `splits` the patients per split (empty where they are not known), `scans` the
    scans for quality control, `beside` the files to link.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    config = provenance["config"]
    run = Run(tables, config, splits)
    sections = section_parts(run, figures, scans, beside)
    return environment.get_template("page.html.j2").render(
        title="msdiff: results of this run",
        warning=warning(run),
        summary=summary(run),
        facts=facts(run, provenance, scans),
        sections=sections,
        methods=methods(run),
        conventions=conventions(config),
        cards=[Link(href, text) for text, href in beside.cards.items()],
        legend=LEGEND,
        packages=provenance["packages"],
        provenance=provenance,
        config=leaves(config),
    )


def read_figures(folder: str | Path) -> dict[str, Path]:
    """The PNG files of a folder by name."""
    return {path.stem: path for path in sorted(Path(folder).glob("*.png"))}


def section_parts(
    run: Run, figures: Mapping[str, str | Path], scans: ScanParts | None, beside: Beside
) -> list[SectionPart]:
    """The sections that have something to show, numbered, with tables and figures numbered through the page."""
    listed = {name for section in SECTIONS for name in (*section.tables, *section.lists)}
    drawn = {name for section in SECTIONS for name in section.figures}
    further = Section(
        FURTHER,
        tuple(name for name in run.tables if name not in listed),
        tuple(name for name in figures if kind_of(name) not in drawn),
    )
    parts: list[SectionPart] = []
    n_tables = n_figures = 0
    for section in (*SECTIONS, further):
        tables = [name for name in section.tables if name in run.tables]
        pictures = [name for kind in section.figures for name in figures if kind in (name, kind_of(name))]
        links = [
            Link(beside.tables[name], f"{name}.csv: {title_of(name)}")
            for name in section.lists
            if name in beside.tables
        ]
        if section.title == READERS_SECTION:
            links += [Link(href, text) for text, href in beside.reader_pages.items()]
        own_scans = scans.scans if scans is not None and section.title == SCANS_SECTION else []
        if not (tables or pictures or links or own_scans):
            continue
        parts.append(
            SectionPart(
                number=len(parts) + 1,
                title=section.title,
                anchor=section.title.lower().replace(" ", "-"),
                note=NOTES[section.title] if section.title in NOTES and not tables else "",
                tables=[table_part(name, n_tables + i + 1, run, beside) for i, name in enumerate(tables)],
                figures=[figure_part(name, n_figures + i + 1, figures[name]) for i, name in enumerate(pictures)],
                links=links,
                scans=own_scans,
            )
        )
        n_tables, n_figures = n_tables + len(tables), n_figures + len(pictures)
    return parts


def table_part(name: str, number: int, run: Run, beside: Beside) -> TablePart:
    """A table with what stands around it."""
    table = run.tables[name]
    sources = beside_papers(table)
    declaration = declared(name)
    column, values = (declaration and declaration.main_rows) or ("source", table["source"].unique())
    columns = declaration and declaration.main_columns
    main = Grid(*table_rows(table[table[column].isin(values)], columns), sources)
    whole = Grid(*table_rows(table), sources)
    of_run = [] if sources else ["this run"]
    return TablePart(
        name=name,
        number=number,
        title=title_of(name),
        main=main,
        whole=whole if len(whole.heads) > len(main.heads) or len(whole.rows) > len(main.rows) else None,
        same=", ".join([*of_run, *(f"{write(key)} {write(value)}" for key, value in shared_keys(table).items())]),
        caption=render_caption(name, run.config),
        sentence=say(name, run),
        link=beside.tables.get(name, ""),
    )


def title_of(name: str) -> str:
    """A table's title as its module declares it, or its name."""
    declaration = declared(name)
    return declaration.title if declaration else write(name)


def kind_of(name: str) -> str:
    """A figure's kind: its name up to the first slash."""
    return name.partition("/")[0]


def figure_part(name: str, number: int, path: str | Path) -> FigurePart:
    """A figure with the words that its file carries."""
    with Image.open(path) as image:
        text = image.info
    title, caption = text.get("Title", write(name)), text.get("Description", "")
    data = base64.b64encode(Path(path).read_bytes()).decode()
    return FigurePart(name, number, title, caption, data, FIGURE_SENTENCES.get(kind_of(name), ""))


def shown_tables(tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The tables without the lists, which are too long for a page."""
    return {name: table for name, table in tables.items() if name not in LISTS}
