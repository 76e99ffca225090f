"""Typed settings: a section of config.yaml arrives as one JSON argument and is checked here.

Each command declares the section it takes as a subclass of Settings, without defaults: config.yaml holds every
number. Unknown, missing and mistyped keys are refused in one line.
"""

import hashlib
import json
from typing import Any, TypeVar

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
