"""Trained weights: a safetensors file that carries its own description.

The description is JSON: architecture, network settings, normalisation and statistics of the conditions, digests. The
file alone is enough to build the network and to use it.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from msdiff.errors import BadInput
from msdiff.writing import whole_file

# Commands that write a kind of weights, where these are not train-{kind}.
TRAINED_BY = {"lesion_prior": "train-prior", "forecaster": "train-control"}


def save_weights(tensors: dict[str, Tensor], description: dict[str, Any], path: str | Path) -> None:
    """Write named tensors and their description."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with whole_file(path) as temporary:
        save_file(contiguous, temporary, metadata={"msdiff": json.dumps(description, sort_keys=True)})


def load_weights(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read named tensors and their description; BadInput where the file is missing or not ours."""
    with _opened(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}, _description(file, path)  # noqa: SIM118


def load_weights_of(kind: str, path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """As `load_weights`, of a kind such as detector or generator; BadInput where they are of something else."""
    tensors, description = load_weights(path)
    if description.get("kind") != kind:
        article, found = "an" if kind[0] in "aeiou" else "a", description.get("kind", "something else")
        raise BadInput(
            f"{path}: expected {article} {kind}'s weights, got those of a {found!r}; give the weights that "
            f"{TRAINED_BY.get(kind, f'train-{kind}')} wrote"
        )
    return tensors, description


def read_description(path: str | Path) -> dict[str, Any]:
    """Read a weights file's description, not its tensors; BadInput where the file is missing or not ours."""
    with _opened(path) as file:
        return _description(file, path)


@contextmanager
def _opened(path: str | Path) -> Iterator[Any]:
    if not Path(path).is_file():
        raise BadInput(f"{path}: no such weights; train them first, or correct the path")
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except SafetensorError as error:
        raise BadInput(f"{path}: expected weights in safetensors format, cannot read them ({error})") from error


def _description(file: Any, path: str | Path) -> dict[str, Any]:
    metadata = file.metadata() or {}
    if "msdiff" not in metadata:
        raise BadInput(f"{path}: expected weights written by msdiff, got a file without their description")
    description: dict[str, Any] = json.loads(metadata["msdiff"])
    return description


def sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
