"""The methods in brief (methods.txt): sentences with the run's own settings in them.

A paragraph is a title and a line per sentence. A sentence names settings by their dotted path in the config, `{path}`
or `{path:form}`, with GENERATOR for the first generator. A sentence with a setting that a run lacks is left out.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from msdiff.report.phrases import listed, percent
from msdiff.report.run import Run
from msdiff.report.words import write

PLACE = re.compile(r"\{([\w.]+)(?::(\w+))?\}")

TIMES = "\N{MULTIPLICATION SIGN}"
# Parts that are left out where the run has no such table.
NEEDS = {"Forecasts": "activity_prediction"}
TEXT = Path(__file__).with_name("methods.txt")


def methods(run: Run) -> list[tuple[str, str]]:
    """Title and text of each part of the methods; parts without a sentence are left out."""
    generators = run.setting("synthesis.generators") or [""]
    written = []
    for paragraph in TEXT.read_text(encoding="utf-8").strip().split("\n\n"):
        title, *templates = paragraph.split("\n")
        if title in NEEDS and run.ours(NEEDS[title]).empty:
            continue
        filled = [fill(template, run, str(generators[0])) for template in templates]
        written.append((title, " ".join(sentence for sentence in filled if sentence)))
    return [(title, text) for title, text in written if text]


def fill(template: str, run: Run, generator: str) -> str:
    """A sentence with its settings; empty where the run lacks one of them."""
    values: dict[str, str] = {}
    for path, form in PLACE.findall(template):
        value = run.setting(path.replace("GENERATOR", generator))
        if value is None:
            return ""
        values[f"{path}:{form}"] = FORMS[form](value)
    return PLACE.sub(lambda found: values[f"{found[1]}:{found[2] or ''}"], template)


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _keys(value: Mapping[str, Any]) -> str:
    return listed([write(key) for key in value])


def _seeds(value: list[int]) -> str:
    return f"seed {value[0]}" if len(value) == 1 else f"{len(value)} seeds"


FORMS: dict[str, Callable[[Any], str]] = {
    "": _number,
    "sizes": lambda value: f" {TIMES} ".join(_number(part) for part in value),
    "list": lambda value: listed([_number(part) for part in value]),
    "words": lambda value: listed([write(part) for part in (value if isinstance(value, list) else [value])]),
    "units": lambda value: f"{write(value)}s",
    "upper": lambda value: str(value).upper(),
    "percent": percent,
    "keys": _keys,
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
