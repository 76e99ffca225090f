"""SAMSEG: a mesh of tissue priors bent onto the head, with a model of its intensities fitted to each scan.

Puonti et al., Fast and sequence-adaptive whole-brain segmentation using parametric Bayesian modeling, NeuroImage 143,
2016. It learns no contrast, so that it takes any, or several at once, and needs no weights: the atlas is in the Python
package `samseg`, which lives in an environment of its own (`make environment-samseg`) and is called as a program.
"""

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from msdiff.errors import BadInput
from msdiff.images import Grid, Volume, save
from msdiff.parcellation.regions import LABELS, TISSUES, MniScan, label
from msdiff.patients import preferred_contrast
from msdiff.settings import Settings, check
from msdiff.spaces import resample_labels

# What SAMSEG labels beyond LABELS. Vessels, optic chiasm, skull, skin and eyes are no region (nor SynthSeg's).
COUNTED_AS = {31: 4, 63: 43, 72: 24} | dict.fromkeys((30, 62, 80, 85, 165, 258, 259), 0)
# White matter without a side: hypointensities (77), and the lesions of the option --lesion (99).
SIDELESS_WHITE = (77, 99)

log = logging.getLogger(__name__)


class SamsegOptions(Settings):
    """Options of `load`.

    command    the program, by name (beside this interpreter or on the PATH) or by path
    contrasts  all together, or only the one that tells tissues apart best
    arguments  what else the program is told
    """

    command: str
    contrasts: Literal["all", "preferred"]
    arguments: tuple[str, ...]


def load(options: dict[str, object], threads: int) -> Callable[[MniScan], NDArray[np.int32]]:
    """The contract is in regions.py; BadInput where the program is not found."""
    settings = check(SamsegOptions, options, "parcellation.samseg")
    return partial(parcellate, settings=settings, program=find_program(settings.command), threads=threads)


def find_program(name: str) -> str:
    """Where the program is: beside this interpreter, else on the PATH."""
    beside = Path(sys.executable).parent
    found = shutil.which(name, path=beside) or shutil.which(name)
    if found is None:
        raise BadInput(
            f"parcellation.samseg.command: expected SAMSEG's program, found no {name!r} in {beside} nor on the PATH; "
            "run `make environment-samseg`, or choose another backend"
        )
    return str(Path(found).absolute())


def parcellate(scan: MniScan, settings: SamsegOptions, program: str, threads: int) -> NDArray[np.int32]:
    """SAMSEG's labels of a head, as codes of LABELS (X, Y, Z).

    Raises BadInput where the program ends with a fault, or writes no labels.
    """
    grid = next(iter(scan.heads.values())).grid
    contrasts = sorted(scan.heads) if settings.contrasts == "all" else [preferred_contrast(list(scan.heads))]
    with TemporaryDirectory() as folder:
        images = [Path(folder) / f"{contrast}.nii.gz" for contrast in contrasts]
        for contrast, image in zip(contrasts, images, strict=True):
            save(scan.heads[contrast], image)
        command = [program, "--input", *map(str, images), "--output", folder, "--threads", str(threads)]
        # Iron darkens the pallidum on T2w and FLAIR: there it is no white matter, says the program's help.
        command += [] if contrasts == ["t1w"] else ["--pallidum-separate"]
        last = run([*command, *settings.arguments], threads)
        labelled = Path(folder) / "seg.mgz"
        if not labelled.is_file():
            raise BadInput(f"{program} wrote no labels (seg.mgz), its last line: {last}")
        read = nib.Nifti1Image.from_image(nib.load(labelled))
        labels = Volume(np.asarray(read.dataobj).astype(np.int32), np.asarray(read.affine, dtype=np.float64))
    return translate(labels, grid)


def run(command: Sequence[str], threads: int) -> str:
    """Run a program, its words to the log; the last line it said. Raises BadInput where it ends with a fault."""
    log.info("run %s", " ".join(command))
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    said = [line.strip() for line in done.stdout.splitlines() if line.strip()] or ["nothing"]
    log.info("it ended with exit code %d and said:\n%s", done.returncode, "\n".join(said))
    if done.returncode:
        raise BadInput(
            f"{command[0]} ended with exit code {done.returncode}, its last line: {said[-1]}; "
            "look at the corrected scan, exclude it, or choose another backend"
        )
    return said[-1]


def translate(labelled: Volume, grid: Grid) -> NDArray[np.int32]:
    """SAMSEG's codes on its own grid to codes of LABELS on `grid`, int32 (X, Y, Z); others stay as they are."""
    codes = np.asarray(resample_labels(labelled, grid, np.eye(4)).data, dtype=np.int32)
    table = np.arange(max(int(codes.max()), *LABELS, *COUNTED_AS, *SIDELESS_WHITE) + 1, dtype=np.int32)
    table[list(COUNTED_AS)] = list(COUNTED_AS.values())
    sideless = np.isin(codes, SIDELESS_WHITE)
    white = label(np.full(grid.shape, TISSUES["white_matter"], dtype=np.uint8), grid)
    return np.where(sideless, white, table[codes])
