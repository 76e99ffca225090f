"""Options that take NAME=PATH or NAME=VALUE."""

import argparse
from pathlib import Path

from msdiff.errors import BadInput


def named(option: str, form: str, entries: list[str]) -> list[tuple[str, Path]]:
    """Name and path of each entry of an option; BadInput for another form.

    >>> named("--weights", "NAME=PATH", ["net=results/weights"])
    [('net', PosixPath('results/weights'))]
    """
    parts = [entry.partition("=") for entry in entries]
    for entry, (_, equals, _) in zip(entries, parts, strict=True):
        if not equals:
            raise BadInput(f"{option}: expected {form}, got {entry!r}")
    return [(name, Path(path)) for name, _, path in parts]


def add_keys_argument(parser: argparse.ArgumentParser) -> None:
    """Declare `keys`: what the rows of a table are told apart by; it is written beside the scores."""
    parser.add_argument(
        "--keys", nargs="*", default=[], metavar="NAME=VALUE", help="keys of a table's rows, such as generator=NAME"
    )


def keys_of(arguments: argparse.Namespace) -> dict[str, str]:
    """The keys by name; BadInput for another form."""
    return {name: str(value) for name, value in named("--keys", "NAME=VALUE", arguments.keys)}
