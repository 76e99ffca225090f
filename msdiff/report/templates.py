"""Prose as templates: Jinja, in which a setting that a run lacks is an error and never an empty word."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jinja2

from msdiff.report.phrases import listed, percent
from msdiff.report.words import write

TIMES = "\N{MULTIPLICATION SIGN}"


def plain(value: Any) -> str:
    """A value as it stands in a sentence."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _seeds(value: list[int]) -> str:
    return f"seed {value[0]}" if len(value) == 1 else f"{len(value)} seeds"


# How a template writes a setting: {{ path | name }}.
FILTERS: dict[str, Callable[[Any], str]] = {
    "sizes": lambda value: f" {TIMES} ".join(plain(part) for part in value),
    "listed": lambda value: listed([plain(part) for part in value]),
    "words": lambda value: listed([write(part) for part in (value if isinstance(value, list) else [value])]),
    "units": lambda value: f"{write(value)}s",
    "upper": lambda value: str(value).upper(),
    "percent": percent,
    "names": lambda value: listed([write(key) for key in value]),
    "seeds": _seeds,
    "ratios": lambda value: ", ".join(mix.replace("-", ":") for mix in value),
    "donor": lambda value: {"other_patient": "another training patient", "same_patient": "the same patient"}[value],
    "balanced": lambda value: {
        "subset": "patients, as many active as inactive ones",
        "weights": "patients, active and inactive ones weighted alike",
        "none": "patients",
    }[value],
    "mode": lambda value: {"add": "join the", "replace": "take the place of"}.get(value, value),
}


def environment() -> jinja2.Environment:
    """Templates of plain text; a value that is missing or None raises jinja2.UndefinedError."""
    made = jinja2.Environment(undefined=jinja2.StrictUndefined, finalize=lambda value: plain(_known(value)))
    made.filters |= {name: lambda value, write=write: write(_known(value)) for name, write in FILTERS.items()}
    return made


def paragraphs(template: Path, values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Title and text of each paragraph of a template: paragraphs by empty lines, each a title and a line per sentence.

    A sentence with a value that is missing is left out, and a paragraph without a sentence.
    """
    found = []
    for paragraph in template.read_text(encoding="utf-8").strip().split("\n\n"):
        title, *sentences = paragraph.split("\n")
        filled = [fill(sentence, values) for sentence in sentences]
        found.append((title, " ".join(sentence for sentence in filled if sentence)))
    return [(title, text) for title, text in found if text]


def fill(sentence: str, values: Mapping[str, Any]) -> str:
    """A sentence with its values; empty where one of them is missing."""
    try:
        return environment().from_string(sentence).render(values)
    except jinja2.UndefinedError:
        return ""


def _known(value: Any) -> Any:
    if value is None or isinstance(value, jinja2.Undefined):
        raise jinja2.UndefinedError("a value that is missing")
    return value
