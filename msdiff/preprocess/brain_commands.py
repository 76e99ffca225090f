"""Skull-stripping by commands that the user has installed elsewhere: HD-BET and SynthStrip.

The image goes to a temporary folder in which the command runs, and the mask that it writes there is read back. Both are
PyTorch programs, told by OMP_NUM_THREADS how many threads they may use.

HD-BET      Isensee et al., Human Brain Mapping 40, 2019
SynthStrip  Hoopes et al., NeuroImage 260, 2022
"""

import logging
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from msdiff.errors import BadInput
from msdiff.images import Volume, load_mask, save
from msdiff.preprocess.skull_stripping import Session
from msdiff.settings import Settings, check

# Names inside the temporary folder.
IMAGE, BRAIN, MASK = "image.nii.gz", "brain.nii.gz", "brain_mask.nii.gz"

log = logging.getLogger(__name__)


class HdBetOptions(Settings):
    """Options of `hd_bet`."""

    command: str
    arguments: tuple[str, ...]


class SynthStripOptions(Settings):
    """Options of `synthstrip`."""

    command: str
    weights: str | None
    border_mm: int = Field(ge=0)


def hd_bet(session: Session, options: dict[str, object], threads: int) -> NDArray[np.bool_]:
    """HD-BET's brain; contract as in skull_stripping.py.

    Version 2 names its mask after the stripped image with _bet, version 1 with _mask.
    """
    settings = check(HdBetOptions, options, "skull_stripping.hd_bet")
    place = "`pip install hd-bet` in an environment of its own (https://github.com/MIC-DKFZ/HD-BET)"
    command = [_find(settings.command, "hd_bet", place), "-i", IMAGE, "-o", BRAIN, *settings.arguments]
    return _run(session.image, command, ["brain_bet.nii.gz", MASK], threads)


def synthstrip(session: Session, options: dict[str, object], threads: int) -> NDArray[np.bool_]:
    """SynthStrip's brain, by FreeSurfer's command or nipreps' (which needs weights); contract as skull_stripping.py."""
    settings = check(SynthStripOptions, options, "skull_stripping.synthstrip")
    place = "FreeSurfer 7.3 or later, or `pip install nipreps-synthstrip` (https://surfer.nmr.mgh.harvard.edu/docs/synthstrip)"
    command = [_find(settings.command, "synthstrip", place), "-i", IMAGE, "-m", MASK, "-b", str(settings.border_mm)]
    if settings.weights is not None:
        weights = Path(settings.weights)
        if not weights.is_file():
            raise BadInput(
                f"skull_stripping.synthstrip.weights: no such file {weights}; get synthstrip.1.pt from "
                "https://surfer.nmr.mgh.harvard.edu/docs/synthstrip, or set null where the command knows its own"
            )
        command += ["--model", str(weights.absolute())]
    return _run(session.image, command, [MASK], threads)


def _find(command: str, backend: str, place: str) -> str:
    """The command's full path, from its name on the PATH or from a path."""
    found = shutil.which(command)
    if found is None:
        raise BadInput(
            f"skull_stripping.{backend}.command: expected a command on the PATH or the path of one, found no "
            f"{command!r}; install it ({place}) and give its path, or choose another backend"
        )
    return str(Path(found).absolute())


def _run(image: Volume, command: Sequence[str], masks: Sequence[str], threads: int) -> NDArray[np.bool_]:
    """Run a command in a folder that holds the image; the first of the masks that it left there."""
    with TemporaryDirectory() as folder:
        save(image, Path(folder) / IMAGE)
        log.info("run %s", " ".join(command))
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        log.info("%s ended with exit code %d and said:\n%s", command[0], done.returncode, "\n".join(said))
        last = said[-1].strip() if said else "nothing"
        if done.returncode != 0:
            raise BadInput(f"{command[0]} ended with exit code {done.returncode}, its last line: {last}")
        written = [Path(folder) / name for name in masks if (Path(folder) / name).is_file()]
        if not written:
            raise BadInput(f"{command[0]} wrote no mask ({' or '.join(masks)}), its last line: {last}")
        return np.asarray(load_mask(written[0], image.grid).data, dtype=np.bool_)
