"""What a table declares: a module of this package with a TABLE is a table, and bears its name.

    TABLE = Table(
        title="Detection by size of the lesion",
        make=lesion_sizes_table,
        inputs={"cohort": one(str), "scores": each(read_run)},
        settings={"settings": ("tables", TableSettings)},
    )

`make` is called with everything by name: `make(cohort=..., scores=..., settings=...)`.
"""

import pkgutil
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, NamedTuple, TypeVar

import pandas as pd

import msdiff.tables
from msdiff.errors import BadInput, BadSettings
from msdiff.settings import Settings, check

# Reads the values of an input: paths, or names such as that of the cohort.
Reader = Callable[[Sequence[str]], Any]
NO_SETTINGS: Mapping[str, tuple[str, type[Settings]]] = {}
T = TypeVar("T")


class Table(NamedTuple):
    """A table.

    title           on the page of the report
    make            the function that makes it, of the inputs and settings by their names here
    inputs          by name: the reader of its values
    settings        by name: the section of the config, with dots, and the class that checks it
    main_columns    of a wide table the columns that the page shows; all columns without
    main_rows       of a long table a column, and its values in the rows that the page shows; all rows without
    """

    title: str
    make: Callable[..., pd.DataFrame]
    inputs: Mapping[str, Reader]
    settings: Mapping[str, tuple[str, type[Settings]]] = NO_SETTINGS
    main_columns: tuple[str, ...] | None = None
    main_rows: tuple[str, tuple[str, ...]] | None = None


def one(read: Callable[[str], T]) -> Callable[[Sequence[str]], T]:
    """A reader of exactly one value."""

    def reader(values: Sequence[str]) -> T:
        if len(values) != 1:
            raise BadInput(f"expected one value, got {len(values)}: {' '.join(values)}")
        return read(values[0])

    return reader


def each(read: Callable[[str], T]) -> Callable[[Sequence[str]], list[T]]:
    """A reader of one value or more."""
    return lambda values: [read(value) for value in values]


def names() -> list[str]:
    """All tables, by name."""
    return [module.name for module in pkgutil.iter_modules(msdiff.tables.__path__) if declared(module.name)]


def declared(name: str) -> Table | None:
    """The table of a name, or None."""
    modules = {module.name for module in pkgutil.iter_modules(msdiff.tables.__path__)}
    return getattr(import_module(f"msdiff.tables.{name}"), "TABLE", None) if name in modules else None


def make(name: str, inputs: Mapping[str, Sequence[str]], sections: Mapping[str, object]) -> pd.DataFrame:
    """A table from the values of its inputs by name, and the sections of the config by their path with dots.

    Raises BadInput where an input is missing or unknown, BadSettings where a section is, and what the table raises.
    """
    table = declared(name)
    if table is None:
        raise BadInput(f"table: expected one of {', '.join(names())}; got {name!r}")
    if set(inputs) != set(table.inputs):
        raise BadInput(
            f"table {name}: expected the inputs {', '.join(table.inputs)}; got {', '.join(inputs) or 'none'}"
        )
    wanted = [path for path, _ in table.settings.values()]
    if set(sections) != set(wanted):
        raise BadSettings(
            f"table {name}: expected the sections {', '.join(wanted) or '(none)'}; got {', '.join(sections) or 'none'}"
        )
    settings = {key: check(kind, sections[path], path) for key, (path, kind) in table.settings.items()}
    return table.make(**{key: read(inputs[key]) for key, read in table.inputs.items()}, **settings)
