"""What each generator says of itself; of one that brought no description the report says only its name.

A name may come from a weights file or a table: it is looked up here and never imported or taken for a path.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msdiff.report.parts import NOTHING
from msdiff.report.run import Run
from msdiff.report.synthesis.sentences import generators_of
from msdiff.report.templates import environment, paragraphs
from msdiff.report.words import write

HERE = Path(__file__).parent
# The folder of its templates: methods.j2, and card.j2 with a macro for each of its answers.
DESCRIBED: Mapping[str, Path] = {"long_ms_diff": HERE / "long_ms_diff"}


def methods(run: Run) -> list[tuple[str, str]]:
    """The generators, each in its own words, then what is sampled of all, and the ablation where there is one."""
    about = [text for name in generators_of(run) for text in _methods_of(name, run)]
    values = {**run.config, "sampled": [_item(name, run) for name in generators_of(run)]}
    found = [("Generator", " ".join(about)), *paragraphs(HERE / "methods.j2", values)]
    return found + (paragraphs(HERE / "ablation.j2", run.config) if len(run.ours("ablation")) else [])


def _methods_of(name: str, run: Run) -> list[str]:
    if name not in DESCRIBED:
        return [f"{write(name)} is a generator of {_item(name, run)}s that brought no description of itself."]
    settings = run.setting(f"synthesis.{name}") or NOTHING
    values = {**run.config, "settings": settings, "name": write(name)}
    return [text for _, text in paragraphs(DESCRIBED[name] / "methods.j2", values)]


def _item(name: str, run: Run) -> str:
    """What a generator samples, as its section of the config says: a slice or a volume."""
    return str(run.setting(f"synthesis.{name}.item") or "slice")


def own_words(name: str, question: str, values: Mapping[str, Any]) -> str:
    """A generator's answer to a question of the cards, in one line; empty where it has none."""
    if name not in DESCRIBED:
        return ""
    template = environment().from_string((DESCRIBED[name] / "card.j2").read_text(encoding="utf-8"))
    answer = getattr(template.make_module(dict(values)), question, None)
    return "" if answer is None else " ".join(answer().split())
