"""Backends of a stage: a plain table of names to locations, of which only the chosen one is imported.

    BACKENDS = {"ants": "msdiff.preprocess.ants:register", "plain": "msdiff.preprocess.plain:register"}

A name with a colon that is not in the table is taken as a location itself, so that a laboratory plugs in its
own function without touching msdiff.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from msdiff.errors import BadSettings


def load(table: Mapping[str, str], name: str) -> Callable[..., Any]:
    """Import and return the function behind a backend's name or its `module:function` location.

    Raises BadSettings where the name is unknown, or the location cannot be imported.
    """
    location = table.get(name, name)
    module_name, colon, function_name = location.partition(":")
    if not colon:
        names = ", ".join(table)
        raise BadSettings(f"backend: expected one of {names}, or a location module:function; got {name!r}")
    try:
        function = getattr(import_module(module_name), function_name)
    except (ModuleNotFoundError, AttributeError) as error:
        raise BadSettings(f"backend {name!r}: cannot import {location!r} ({error})") from error
    return function  # type: ignore[no-any-return]
