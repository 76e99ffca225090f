"""Options that take NAME=PATH."""

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
