"""What a part of the report declares: one folder of this package, and one line in `systems.py`.

    PART = ReportPart(
        folder=Path(__file__).parent,
        title="Privacy",
        ran=has_rows("privacy"),
        tables={"privacy": about_privacy},
        figures={"privacy_similarities": Figure("A follow-up beyond the limit is a reason to look at the pair.")},
    )

Page, summary, methods, figures and cards loop over the parts, and know no part by name. A part that a run does not have
contributes nothing.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from msdiff.report.imaging.scans import ScanPart
from msdiff.report.record import Record
from msdiff.report.run import Run
from msdiff.report.templates import paragraphs

# Sentences on a run, one after the other.
Sentences = Callable[[Run], Iterable[str]]
NOTHING: Mapping[str, Any] = MappingProxyType({})


def no_sentences(_: Run) -> Iterable[str]:
    """Nothing to say."""
    return ()


def no_scans(_: Run) -> Sequence[ScanPart]:
    """No scans."""
    return ()


def nothing(_: Any) -> Mapping[str, Any]:
    """Nothing by no name."""
    return NOTHING


def has_rows(*tables: str) -> Callable[[Run], bool]:
    """Whether a run has rows of its own in one of some tables."""
    return lambda run: any(len(run.ours(name)) for name in tables)


class Figure(NamedTuple):
    """A figure.

    sentence    what it may be taken for
    function    `module:function`, which plots it or returns None; empty where another command plots it
    sources     what the function is called with, in this order (`msdiff.report.figures`)
    """

    sentence: str
    function: str = ""
    sources: tuple[str, ...] = ()

    def load(self) -> Callable[..., Any]:
        """The function, with the libraries that it needs."""
        module, _, function = self.function.partition(":")
        return getattr(import_module(module), function)  # type: ignore[no-any-return]


class ReportPart(NamedTuple):
    """A part of the report.

    folder      its folder, whose name is the part's
    title       of its section on the page
    ran         whether a run has it
    tables      in the order of the page: the sentences on each table
    lists       tables of a row per thing, which are linked and not shown
    figures     in the order of the page; a figure's name may go on after a slash, where there are several of a kind
    note        what its section says without a table
    opening     sentences on what was run, on whom
    summary     by title: sentences of a paragraph of the summary
    limits      sentences on what the run does not show
    tested      by kind of patient: how many patients its numbers rest on
    facts       facts about the run by name
    scans       scans whose pictures its section shows
    kept        whether a record holds its weights or samples, which the cards then describe though it has no table
    card        values for its template card.md.j2
    methods     paragraphs of the methods; without, those of the template methods.j2 in its folder, where it has one
    """

    folder: Path
    title: str
    ran: Callable[[Run], bool]
    tables: Mapping[str, Callable[[Run], str]] = NOTHING
    lists: tuple[str, ...] = ()
    figures: Mapping[str, Figure] = NOTHING
    note: str = ""
    opening: Sentences = no_sentences
    summary: Mapping[str, Sentences] = NOTHING
    limits: Sentences = no_sentences
    tested: Callable[[Run], Mapping[str, int]] = nothing
    facts: Callable[[Run], Mapping[str, str]] = nothing
    scans: Callable[[Run], Sequence[ScanPart]] = no_scans
    methods: Callable[[Run], list[tuple[str, str]]] | None = None
    kept: Callable[[Record], bool] = lambda _: False
    card: Callable[[Record], Mapping[str, Any]] = nothing

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.folder.name

    def methods_of(self, run: Run) -> list[tuple[str, str]]:
        """Title and text of its paragraphs of the methods, with the settings of a run."""
        if self.methods is not None:
            return self.methods(run)
        template = self.folder / "methods.j2"
        return paragraphs(template, run.config) if template.is_file() else []
