"""FreeSurfer's own SynthSeg, called as the program `mri_synthseg` that the user has installed: many scans per call.

Billot et al., Medical Image Analysis 86, 2023; with `robust`, Billot et al., PNAS 120, 2023.
"""

import logging
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from msdiff.errors import BadInput
from msdiff.images import Grid, Volume, load_labels, save
from msdiff.parcellation.regions import MniScan
from msdiff.settings import Settings, check
from msdiff.spaces import resample_labels

log = logging.getLogger(__name__)

# A map with the cortex in parts numbers them from here; they are put together again.
PARCELS = {1000: 3, 2000: 42}


class FreeSurferOptions(Settings):
    """Options of `load`.

    command    name on the PATH, or path, of mri_synthseg
    contrasts  which one to look at, the first that the session has; else the first by name
    image      `heads` with the skull, or `normalised`, without
    robust     its network for images of little contrast; slower
    cpu        leave GPUs alone
    """

    command: str
    contrasts: tuple[str, ...]
    image: Literal["heads", "normalised"]
    robust: bool
    cpu: bool


class Program(NamedTuple):
    """mri_synthseg, ready to be called; the contract is in regions.py."""

    path: str
    settings: FreeSurferOptions
    threads: int

    def many(self, scans: Iterable[MniScan]) -> Iterator[NDArray[np.int32]]:
        """Labels (X, Y, Z) of each scan on its own grid; BadInput where the program fails."""
        with TemporaryDirectory() as name:
            folder = Path(name)
            grids = [self._write(scan, folder / f"{number:03d}.nii.gz") for number, scan in enumerate(scans)]
            files = [folder / f"{number:03d}.nii.gz" for number in range(len(grids))]
            found = [path.with_name(f"labels_{path.name}") for path in files]
            for listed, paths in (("images.txt", files), ("labels.txt", found)):
                (folder / listed).write_text("".join(f"{path}\n" for path in paths))
            self._call(folder / "images.txt", folder / "labels.txt")
            for path, grid in zip(found, grids, strict=True):
                if not path.is_file():
                    raise BadInput(
                        f"{self.path}: it wrote no labels for scan {int(path.name[7:10]) + 1}; see its messages"
                    )
                yield on_grid(load_labels(path), grid)

    def _write(self, scan: MniScan, path: Path) -> Grid:
        images: dict[str, Volume] = getattr(scan, self.settings.image)
        contrast = next((name for name in self.settings.contrasts if name in images), sorted(images)[0])
        save(images[contrast], path)
        return images[contrast].grid

    def _call(self, images: Path, labels: Path) -> None:
        flags = [f"--{name}" for name in ("robust", "cpu") if getattr(self.settings, name)]
        command = [self.path, "--i", str(images), "--o", str(labels), "--threads", str(self.threads), *flags]
        log.info("call %s", " ".join(command))
        run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        log.info("%s", run.stdout.strip())
        if run.returncode:
            last = " ".join(run.stdout.split())[-300:]
            raise BadInput(f"{self.path}: it failed with exit code {run.returncode}, saying: {last}")


def load(options: dict[str, object], threads: int) -> Program:
    """The program; BadInput where it is not installed."""
    settings = check(FreeSurferOptions, options, "parcellation.freesurfer")
    path = shutil.which(settings.command)
    if path is None:
        raise BadInput(
            f"parcellation.freesurfer.command: no program {settings.command!r} on the PATH; install FreeSurfer "
            "(surfer.nmr.mgh.harvard.edu) and source its SetUpFreeSurfer.sh, give the program's path, or choose "
            "another backend"
        )
    return Program(path, settings, threads)


def on_grid(labels: Volume, grid: Grid) -> NDArray[np.int32]:
    """The program's labels, on voxels of 1 mm, at a grid's voxels, each the nearest; parts of the cortex as one."""
    data = np.array(resample_labels(labels, grid, np.eye(4)).data, dtype=np.int32)
    for first, cortex in PARCELS.items():
        data[(data > first) & (data < first + 1000)] = cortex
    return data
