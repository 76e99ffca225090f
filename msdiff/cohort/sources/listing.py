"""Calling a source by its name, with the options it takes."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from msdiff import backends
from msdiff.cohort.sources import SOURCES
from msdiff.errors import BadInput


def list_scans(source: str, root: str | Path, options: Mapping[str, Any]) -> pd.DataFrame:
    """One row per scan of a source by its name; options that are None count as not given.

    The column `exclude` is added, empty, for the user to fill in. Raises BadInput as the source does, and where an
    option is missing or not one of the source's.
    """
    function = backends.load(SOURCES, source)
    known = list(inspect.signature(function).parameters.values())[1:]
    given = {name: value for name, value in options.items() if value is not None}
    for name in given:
        if name not in [option.name for option in known]:
            takes = ", ".join(_flag(option.name) for option in known) or "no options"
            raise BadInput(f"{_flag(name)}: no option of the source {source}, which takes {takes}; leave it out")
    for option in known:
        if option.default is option.empty and option.name not in given:
            raise BadInput(f"{_flag(option.name)}: the source {source} needs it, got none; add it")
    table: pd.DataFrame = function(Path(root), **given)
    return table.assign(exclude="")


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
