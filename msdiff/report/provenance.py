"""What ran: version, commit, settings, packages, machine, seeds, date and the digests of data, weights and tables.

The record and a table belong together by the table's digest: who holds a table finds in the record with this digest the
commit, the config and the seeds that made each of its rows.
"""

import hashlib
import platform
import subprocess
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path
from typing import Any

from msdiff import __version__
from msdiff.errors import BadInput
from msdiff.settings import digest

# A checkout's commit is read in a moment, or not at all.
GIT_SECONDS = 10


def record(
    config: dict[str, Any], files: Mapping[str, Mapping[str, Path]] | None = None, **arrays: str | None
) -> dict[str, Any]:
    """The record of a run with this config, made on the machine and in the environment of the call.

    `files` by kind (sheet, weights, tables) and name are recorded by their digests; `arrays` are digests by name, of
    the preprocessed scans (stack) and of what forecasts learned from (slabs), None where there are none.
    """
    digests: dict[str, Any] = {
        kind: {name: _sha256(path) for name, path in sorted(named.items())} for kind, named in (files or {}).items()
    }
    return {
        "msdiff": __version__,
        "git": commit(Path(__file__).parent),
        "date_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": device(),
        "packages": packages(),
        "seeds": dict(find(config, lambda key: key in ("seed", "seeds") or key.endswith("_seed"))),
        "config_sha256": digest(config),
        "sha256": digests | {name: value for name, value in arrays.items() if value is not None},
        "config": config,
    }


def commit(folder: Path) -> dict[str, Any] | None:
    """The checkout's commit, and whether files differ from it; None outside a checkout or without git."""
    try:
        sha = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": sha, "dirty": bool(changed)}


def device() -> str:
    """The accelerator that torch sees, or the processor."""
    try:
        import torch
    except ModuleNotFoundError:
        return f"CPU ({platform.machine()})"
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        return ", ".join(names)
    return f"CPU ({platform.machine()}, {torch.get_num_threads()} threads)"


def packages() -> dict[str, str]:
    """Versions of all installed packages by name."""
    names = {distribution.metadata["Name"] for distribution in distributions()}
    versions = {}
    for name in sorted((name for name in names if name), key=str.lower):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def find(values: Any, wanted: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The entries of nested settings whose key is wanted, as dotted path and value.

    >>> dict(find({"a": {"seed": 1, "b": [{"seed": 2}]}}, lambda key: key == "seed"))
    {'a.seed': 1, 'a.b.0.seed': 2}
    """
    if isinstance(values, list):
        values = dict(enumerate(values))
    if not isinstance(values, dict):
        return
    for key, value in values.items():
        here = f"{path}.{key}" if path else str(key)
        if wanted(str(key)):
            yield here, value
        else:
            yield from find(value, wanted, here)


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=GIT_SECONDS
    )
    return done.stdout.strip()


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BadInput(f"{path}: expected a file, cannot read it ({error}); make it first") from error
