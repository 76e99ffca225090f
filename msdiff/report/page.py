"""The report: one page of HTML that holds its styles, tables and figures, and opens from disk without a network."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import pandas as pd
from markupsafe import Markup
from PIL import Image

from msdiff.report.facts import conventions, facts, leaves
from msdiff.report.imaging.scan_pictures import LEGEND
from msdiff.report.imaging.scans import ScanPart, ScanParts
from msdiff.report.methods import methods
from msdiff.report.page_tables import Row, beside_papers, render_caption, shared_keys, table_rows
from msdiff.report.parts import Figure, ReportPart
from msdiff.report.run import Run
from msdiff.report.summary import summary, warning
from msdiff.report.systems import PARTS, say
from msdiff.report.words import write
from msdiff.tables.registry import declared

HERE = Path(__file__).parent
NOTHING: Mapping[str, str] = {}
NO_PAGES: Mapping[str, Mapping[str, str]] = {}
# The section of what no part lists.
FURTHER = "Further results"


class TableGrid(NamedTuple):
    """Heads and rows of a table, and whether the first column tells the source of each row."""

    heads: list[str]
    rows: list[Row]
    sources: bool


class TablePart(NamedTuple):
    """A table on the page: what it shows comes before it, its caption after; `whole` has the columns left out."""

    name: str
    number: int
    title: str
    main: TableGrid
    whole: TableGrid | None
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
    """Files beside the page, relative to it: tables by name, pages of each part and cards by their title."""

    tables: Mapping[str, str] = NOTHING
    pages: Mapping[str, Mapping[str, str]] = NO_PAGES
    cards: Mapping[str, str] = NOTHING


def report_page(
    tables: Mapping[str, pd.DataFrame],
    figures: Mapping[str, str | Path],
    provenance: Mapping[str, Any],
    splits: Mapping[str, int],
    scans: ScanParts | None = None,
    beside: Beside = Beside(),  # noqa: B008
    parts: Sequence[ReportPart] = PARTS,
) -> str:
    """The page, as HTML.

    `tables` and `figures` (PNG files with a title and a caption in them) by name, `provenance` as
    msdiff.report.provenance writes it, `splits` the patients per split (empty where they are not known), `scans` the
    scans for quality control, `beside` the files to link, `parts` what the report is made of.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    config = provenance["config"]
    run = Run(tables, config, splits, scans)
    return environment.get_template("page.html.j2").render(
        title="msdiff: results of this run",
        warning=warning(run, parts),
        summary=summary(run, parts),
        facts=facts(run, provenance, parts),
        sections=sections(run, figures, beside, parts),
        methods=methods(run, parts),
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


def sections(
    run: Run, figures: Mapping[str, str | Path], beside: Beside, parts: Sequence[ReportPart] = PARTS
) -> list[SectionPart]:
    """The sections that have something to show, numbered, with tables and figures numbered through the page."""
    listed = {name for part in parts for name in (*part.tables, *part.lists)}
    plotted = {kind for part in parts for kind in part.figures}
    further = ReportPart(
        folder=Path(),
        title=FURTHER,
        ran=lambda _: True,
        tables={name: lambda _: "" for name in run.tables if name not in listed},
        figures={name: Figure("") for name in figures if kind_of(name) not in plotted},
    )
    made: list[SectionPart] = []
    n_tables = n_figures = 0
    for part in (*parts, further):
        tables = [name for name in part.tables if name in run.tables]
        pictures = {
            name: figure for kind, figure in part.figures.items() for name in figures if kind in (name, kind_of(name))
        }
        links = [
            Link(beside.tables[name], f"{name}.csv: {title_of(name)}") for name in part.lists if name in beside.tables
        ]
        links += [Link(href, text) for text, href in beside.pages.get(part.name, NOTHING).items()]
        scans = list(part.scans(run))
        if not (tables or pictures or links or scans):
            continue
        made.append(
            SectionPart(
                number=len(made) + 1,
                title=part.title,
                anchor=part.title.lower().replace(" ", "-"),
                note="" if tables else part.note,
                tables=[table_part(name, n_tables + i + 1, run, beside, parts) for i, name in enumerate(tables)],
                figures=[
                    figure_part(name, n_figures + i + 1, figures[name], figure.sentence)
                    for i, (name, figure) in enumerate(pictures.items())
                ],
                links=links,
                scans=scans,
            )
        )
        n_tables, n_figures = n_tables + len(tables), n_figures + len(pictures)
    return made


def table_part(name: str, number: int, run: Run, beside: Beside, parts: Sequence[ReportPart]) -> TablePart:
    """A table with what stands around it."""
    table = run.tables[name]
    sources = beside_papers(table)
    declaration = declared(name)
    column, values = (declaration and declaration.main_rows) or ("source", table["source"].unique())
    columns = declaration and declaration.main_columns
    main = TableGrid(*table_rows(table[table[column].isin(values)], columns), sources)
    whole = TableGrid(*table_rows(table), sources)
    of_run = [] if sources else ["this run"]
    return TablePart(
        name=name,
        number=number,
        title=title_of(name),
        main=main,
        whole=whole if len(whole.heads) > len(main.heads) or len(whole.rows) > len(main.rows) else None,
        same=", ".join([*of_run, *(f"{write(key)} {write(value)}" for key, value in shared_keys(table).items())]),
        caption=render_caption(name, run.config),
        sentence=say(name, run, parts),
        link=beside.tables.get(name, ""),
    )


def title_of(name: str) -> str:
    """A table's title as its module declares it, or its name."""
    declaration = declared(name)
    return declaration.title if declaration else write(name)


def kind_of(name: str) -> str:
    """A figure's kind: its name up to the first slash."""
    return name.partition("/")[0]


def figure_part(name: str, number: int, path: str | Path, sentence: str) -> FigurePart:
    """A figure with the words that its file carries, and what it may be taken for."""
    with Image.open(path) as image:
        text = image.info
    title, caption = text.get("Title", write(name)), text.get("Description", "")
    data = base64.b64encode(Path(path).read_bytes()).decode()
    return FigurePart(name, number, title, caption, data, sentence)


def shown_tables(tables: Mapping[str, pd.DataFrame], parts: Sequence[ReportPart] = PARTS) -> dict[str, pd.DataFrame]:
    """The tables without the lists, which are too long for a page."""
    lists = {name for part in parts for name in part.lists}
    return {name: table for name, table in tables.items() if name not in lists}
