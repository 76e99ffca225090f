"""Typed settings: a section of the config arrives as one JSON argument and is checked here.

Each command declares the section it takes as a subclass of Settings, without defaults: the config holds every
number. Unknown, missing and mistyped keys are refused in one line.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from msdiff.errors import BadSettings


class Settings(BaseModel):
    """Base of every section: immutable, no unknown keys, no silent conversions."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


S = TypeVar("S", bound=Settings)


class Choice(Settings):
    """A pluggable part: the chosen backend's name and that backend's own options."""

    backend: str
    options: dict[str, Any]


def read(kind: type[S], text: str, name: str = "settings") -> S:
    """Check a JSON text against `kind`; raise BadSettings with one line that names the key."""
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadSettings(f"{name}: expected JSON, got {text[:60]!r} ({error})") from error
    return check(kind, values, name)


def check(kind: type[S], values: object, name: str = "settings") -> S:
    """Check plain values against `kind`; raise BadSettings with one line that names the key."""
    try:
        # In JSON mode a list is read as a tuple, and a whole number as a float, where the field says so.
        return kind.model_validate_json(json.dumps(values))
    except ValidationError as error:
        raise BadSettings(f"{name}: {_one_line(error)}") from error


class Entry(NamedTuple):
    """A pluggable part in a table by name: the settings it takes, and the function that makes it of them."""

    settings: type[Any]
    make: Callable[..., Any]


def build(table: Mapping[str, Entry], name: str, options: object, what: str, *more: object) -> Any:
    """What the named entry of a table makes of its options, and of `more` if it takes more.

    Raises BadSettings, which begins with `what`, if the name or an option is unknown, missing or out of range.
    """
    if name not in table:
        raise BadSettings(f"{what}: expected one of {', '.join(table)}, got {name!r}")
    entry = table[name]
    return entry.make(check(entry.settings, options, f"{what} {name}"), *more)


def digest(*parts: object) -> str:
    """Hexadecimal SHA-256 of JSON-serialisable parts, independent of key order."""
    text = json.dumps([_plain(part) for part in parts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(part: object) -> object:
    return part.model_dump(mode="json") if isinstance(part, BaseModel) else part


def _one_line(error: ValidationError) -> str:
    faults = []
    for fault in error.errors(include_url=False):
        key = ".".join(str(step) for step in fault["loc"]) or "(top level)"
        match fault["type"]:
            case "extra_forbidden":
                faults.append(f"unknown key {key!r}; remove it or correct its spelling")
            case "missing":
                faults.append(f"missing key {key!r}")
            case _:
                faults.append(f"{key}: {fault['msg']}, got {fault['input']!r}")
    return "; ".join(faults)
