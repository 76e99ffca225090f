"""mri_synthseg by a stand-in that keeps its command line: it labels what is bright, on voxels of 1 mm."""

import os
import sys

import numpy as np
import pytest

from msdiff.errors import BadInput
from msdiff.images import Volume, axis_aligned_grid
from msdiff.parcellation.freesurfer import load
from msdiff.parcellation.regions import MniScan, ParcellationSettings, VolumeLimits, parcellate

GRID = axis_aligned_grid((50, 60, 22), (3.0, 3.0, 6.0), (0.0, 0.0, 0.0))
OPTIONS = {"command": "mri_synthseg", "contrasts": ["t1w"], "image": "heads", "robust": False, "cpu": True}

STAND_IN = """#!{python}
import argparse, pathlib, sys
import nibabel as nib, numpy as np
parser = argparse.ArgumentParser()
for name in ("--i", "--o", "--threads"):
    parser.add_argument(name)
for name in ("--cpu", "--robust", "--parc"):
    parser.add_argument(name, action="store_true")
arguments = parser.parse_args()
pathlib.Path({log!r}).open("a").write(" ".join(sys.argv[1:]) + "\\n")
{extra}
for image, out in zip(*(pathlib.Path(name).read_text().split() for name in (arguments.i, arguments.o)), strict=True):
    image = nib.load(image)
    fine = image.affine @ np.diag([1 / 3, 1 / 3, 1 / 6, 1])
    fine[:3, 3] = image.affine[:3, 3] - np.array([1.0, 1.0, 2.5])
    data = np.asarray(image.dataobj).repeat(3, 0).repeat(3, 1).repeat(6, 2)
    x = fine[0, 0] * np.arange(data.shape[0])[:, None, None] + fine[0, 3] + 0 * data
    labels = np.where(data > 700, np.where(x < 0, 2, 41), np.where(data > 400, np.where(x < 0, 1012, 42), 0))
    nib.save(nib.Nifti1Image(labels.astype(np.int32), fine), out)
"""


def scan(level=800.0):
    """White matter in the middle, cortex around it, and all of it on both sides."""
    x, y, z = (np.indices(GRID.shape).reshape(3, -1).T @ GRID.affine[:3, :3].T + GRID.affine[:3, 3]).T
    radius = np.sqrt(x**2 + y**2 + z**2).reshape(GRID.shape)
    head = Volume(np.where(radius < 50, level, np.where(radius < 62, 500, 10)).astype(np.float32), GRID.affine)
    return MniScan({"t1w": head}, {"t1w": head}, radius < 62)


@pytest.fixture
def install(tmp_path, monkeypatch):
    """A function that puts the stand-in on the PATH and returns its log."""

    def put(extra=""):
        log = tmp_path / "calls.txt"
        program = tmp_path / "bin/mri_synthseg"
        program.parent.mkdir(exist_ok=True)
        program.write_text(STAND_IN.format(python=sys.executable, log=str(log), extra=extra))
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(program.parent) + os.pathsep + os.environ["PATH"])
        return log

    return put


def settings(**options):
    limits = VolumeLimits(min_brain_ml=500.0, max_brain_ml=2500.0)
    return ParcellationSettings(backend="freesurfer", options=OPTIONS | options, limits=limits)


def test_all_scans_in_one_call(install):
    log = install()
    given = [(f"sub-{k}", scan(level)) for k, level in enumerate((800.0, 750.0, 900.0))]
    found = dict(parcellate(given, settings(), 2))
    assert list(found) == ["sub-0", "sub-1", "sub-2"]
    [call] = log.read_text().splitlines()
    assert call.split()[4:] == ["--threads", "2", "--cpu"]
    head, labels = np.asarray(given[0][1].heads["t1w"].data), found["sub-0"].data
    x = GRID.affine[0, 0] * np.arange(GRID.shape[0])[:, None, None] + GRID.affine[0, 3]
    np.testing.assert_array_equal(np.isin(labels, (2, 41)), head == 800)
    np.testing.assert_array_equal(np.isin(labels, (3, 42)), head == 500)
    assert (np.isin(labels, (2, 3)) <= (x < 0)).all()


def test_flags_are_passed_and_a_path_will_do(install, tmp_path):
    log = install()
    list(
        parcellate([("sub-0", scan())], settings(command=str(tmp_path / "bin/mri_synthseg"), robust=True, cpu=False), 1)
    )
    assert log.read_text().split()[4:] == ["--threads", "1", "--robust"]


def test_what_it_says_when_it_fails_is_told(install):
    install('sys.exit("FREESURFER_HOME is not set. Please source freesurfer.")')
    with pytest.raises(BadInput, match="mri_synthseg: it failed with exit code 1, saying: FREESURFER_HOME is not set"):
        list(parcellate([("sub-0", scan())], settings(), 1))


def test_a_missing_map_is_an_error(install):
    install("sys.exit(0)")
    with pytest.raises(BadInput, match="it wrote no labels for scan 1"):
        list(parcellate([("sub-0", scan())], settings(), 1))


def test_a_missing_program_says_where_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadInput, match="no program 'mri_synthseg' on the PATH; install FreeSurfer"):
        load(OPTIONS, 1)
