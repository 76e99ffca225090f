"""Checkpoints of a training: written whole, the newest few kept, and never taken for another training's."""

import logging
import os
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from msdiff import processes
from msdiff.errors import BadInput, StaleCheckpoint
from msdiff.settings import digest
from msdiff.training.state import State
from msdiff.writing import whole_file

log = logging.getLogger(__name__)

KEPT_CHECKPOINTS = 2
# Of the digest that names a folder of checkpoints.
DIGITS = 12


def folder_of(mark: dict[str, Any], checkpoints: Path) -> Path:
    """The folder of the training with this mark; warns if there are others only."""
    folder = checkpoints / digest(mark)[:DIGITS]
    others = [str(other) for other in checkpoints.glob("*/") if other.name != folder.name]
    if others and not folder.exists():
        log.warning("starting anew, for settings or inputs have changed; kept, yours to remove: %s", ", ".join(others))
    return folder


def save(state: State, mark: dict[str, Any], folder: Path) -> None:
    """Write a checkpoint whole, then remove all but the newest few; of several processes, the first does."""
    state.check_finite()
    if processes.rank() > 0:
        return
    path = folder / f"step-{state.step:09d}.pt"
    with whole_file(path) as temporary:
        torch.save(state.dump() | {"mark": mark}, temporary)
    log.info("wrote %s", path)
    for old in sorted(folder.glob("step-*.pt"))[:-KEPT_CHECKPOINTS]:
        old.unlink()


def newest_average(checkpoints: str | Path) -> tuple[dict[str, Tensor], int]:
    """The EMA of the newest checkpoint of a training that has not ended, and its step; BadInput where there is none."""
    folders = sorted(Path(checkpoints).glob("*/"), key=lambda folder: folder.stat().st_mtime)
    checkpoint = newest(folders[-1], torch.device("cpu")) if folders else None
    if checkpoint is None:
        raise BadInput(f"{checkpoints}: expected a folder of a training's checkpoints, found none; correct the path")
    return checkpoint["ema"], checkpoint["step"]


def newest(folder: Path, device: torch.device) -> dict[str, Any] | None:
    """The newest readable checkpoint; leavings of a killed process are removed."""
    for leaving in folder.glob(".*.step-*.pt"):
        if re.fullmatch(r"\.\d+\.step-\d+\.pt", leaving.name) and leaving.name.split(".")[1] != str(os.getpid()):
            leaving.unlink(missing_ok=True)
    for path in sorted(folder.glob("step-*.pt"), reverse=True):
        # torch writes zip files, whose table of contents comes last: a half one is none.
        if not zipfile.is_zipfile(path):
            log.warning("%s: not a whole checkpoint; taking the one before", path)
            continue
        checkpoint: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        log.info("continuing from %s", path)
        return checkpoint
    return None


def check_mark(mark: dict[str, Any], found: dict[str, Any], folder: Path) -> None:
    """Raise StaleCheckpoint where a checkpoint is another training's."""
    if mark == found:
        return
    faults = [
        f"{key} {found['settings'].get(key)!r} instead of {value!r}"
        for key, value in mark["settings"].items()
        if found["settings"].get(key) != value
    ]
    if mark["seed"] != found["seed"]:
        faults.append(f"seed {found['seed']} instead of {mark['seed']}")
    if mark["identity"] != found["identity"]:
        faults.append("another network, training list or input files")
    raise StaleCheckpoint(
        f"{folder}: expected checkpoints of this training, got those of one with {', '.join(faults)}; "
        "remove the folder to train anew"
    )
