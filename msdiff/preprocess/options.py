"""Options that a stage reads itself, whichever backend is chosen, beside the backend's own."""

from typing import Any, TypeVar

from msdiff.settings import Settings, check

S = TypeVar("S", bound=Settings)


def split(kind: type[S], options: dict[str, Any], name: str) -> tuple[S, dict[str, Any]]:
    """The stage's own options, checked, and the rest, for the backend to check."""
    own = {key: value for key, value in options.items() if key in kind.model_fields}
    rest = {key: value for key, value in options.items() if key not in kind.model_fields}
    return check(kind, own, name), rest
