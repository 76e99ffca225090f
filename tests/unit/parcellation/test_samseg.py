import json
import sys
from pathlib import Path

import numpy as np
import pytest

from msdiff.errors import BadInput, BadSettings
from msdiff.images import Volume, axis_aligned_grid
from msdiff.parcellation import samseg
from msdiff.parcellation.regions import MniScan, ParcellationSettings, VolumeLimits, parcellate

GRID = axis_aligned_grid((6, 4, 3), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0))
# On a grid of its own, as MGH: every voxel of the first input, mirrored, with the codes of the words behind --codes.
LABEL = """
import json, sys
from pathlib import Path
import nibabel as nib, numpy as np
words = sys.argv[1:]
out = Path(words[words.index("--output") + 1])
image = nib.load(words[words.index("--input") + 1])
codes = np.resize(np.array(json.loads(words[words.index("--codes") + 1])), image.shape)
mirror = image.affine @ np.array([[-1, 0, 0, image.shape[0] - 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
nib.save(nib.MGHImage(codes[::-1].astype(np.float32), mirror), out / "seg.mgz")
Path(__file__).with_name("words.json").write_text(json.dumps(words))
"""


@pytest.fixture
def program(tmp_path):
    """A function: a program of this Python text, and its path."""

    def write(text):
        path = tmp_path / "run_samseg"
        path.write_text(f"#!{sys.executable}\n{text}")
        path.chmod(0o755)
        return str(path)

    return write


def scan(*contrasts):
    image = Volume(np.arange(72, dtype=np.float32).reshape(GRID.shape), GRID.affine)
    images = dict.fromkeys(contrasts, image)
    return MniScan(images, images, np.ones(GRID.shape, dtype=bool))


def options(command, *arguments, contrasts="preferred"):
    return {"command": command, "contrasts": contrasts, "arguments": list(arguments)}


def words_of(program):

    return json.loads(Path(program).with_name("words.json").read_text())


def test_labels_come_to_the_grid_of_the_scan(program):
    path = program(LABEL)
    codes = np.array([0, 2, 3, 4, 41, 42, 60])
    labels = samseg.load(options(path, "--codes", str(codes.tolist())), 1)(scan("t1w"))
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, np.resize(codes, GRID.shape))


def test_the_stage_takes_its_labels_inside_the_brain(program):
    settings = ParcellationSettings(
        backend="samseg",
        options=options(program(LABEL), "--codes", "[2, 3, 41, 42, 258]"),
        limits=VolumeLimits(min_brain_ml=0.1, max_brain_ml=1.0),
    )
    brain = np.ones(GRID.shape, dtype=bool)
    brain[0] = False
    [(name, labels)] = parcellate([("sub-1", scan("t1w")._replace(brain=brain))], settings, 1)
    assert name == "sub-1"
    np.testing.assert_array_equal(labels.data, np.where(brain, np.resize([2, 3, 41, 42, 0], GRID.shape), 0))


@pytest.mark.parametrize(
    ("code", "left", "right"),
    [(77, 2, 41), (99, 2, 41), (31, 4, 4), (63, 43, 43), (72, 24, 24), (165, 0, 0), (85, 0, 0), (1035, 1035, 1035)],
)
def test_codes_beyond_ours_are_translated(code, left, right):
    labelled = Volume(np.full(GRID.shape, code, dtype=np.int32), GRID.affine)
    labels = samseg.translate(labelled, GRID)
    assert (labels[:3] == left).all()
    assert (labels[3:] == right).all()


@pytest.mark.parametrize(
    ("contrasts", "which", "given", "separate"),
    [
        (("flair", "t1w"), "preferred", ["t1w"], False),
        (("flair", "t2w"), "preferred", ["flair"], True),
        (("t2w", "flair", "t1w"), "all", ["flair", "t1w", "t2w"], True),
    ],
)
def test_the_program_gets_heads_threads_and_its_own_words(program, contrasts, which, given, separate):
    path = program(LABEL)
    samseg.load(options(path, "--codes", "[2]", contrasts=which), 3)(scan(*contrasts))
    words = words_of(path)
    names = [word.rpartition("/")[2] for word in words[1 : words.index("--output")]]
    assert words[0] == "--input"
    assert names == [f"{contrast}.nii.gz" for contrast in given]
    assert words[words.index("--threads") + 1] == "3"
    assert ("--pallidum-separate" in words) == separate
    assert words[-2:] == ["--codes", "[2]"]


def test_the_program_is_found_beside_the_interpreter_first(program, tmp_path, monkeypatch):
    beside = program(LABEL)
    elsewhere = tmp_path / "path"
    elsewhere.mkdir()
    (elsewhere / "run_samseg").write_text("#!/bin/sh\nexit 1\n")
    (elsewhere / "run_samseg").chmod(0o755)
    monkeypatch.setenv("PATH", str(elsewhere))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert samseg.find_program("run_samseg") == beside
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nowhere/python"))
    assert samseg.find_program("run_samseg") == str(elsewhere / "run_samseg")


def test_an_absent_program_is_missed_before_any_scan():
    with pytest.raises(BadInput, match=r"no 'run_samsegg'.*make environment-samseg"):
        samseg.load(options("run_samsegg"), 1)


def test_a_fault_is_told_by_its_last_line(program):
    path = program("print('reading')\nraise SystemExit('no atlas')")
    with pytest.raises(BadInput, match="exit code 1, its last line: no atlas"):
        samseg.load(options(path), 1)(scan("t1w"))


def test_no_labels_are_told(program):
    path = program("print('done')")
    with pytest.raises(BadInput, match=r"wrote no labels \(seg.mgz\), its last line: done"):
        samseg.load(options(path), 1)(scan("t1w"))


def test_unknown_options_are_refused():
    with pytest.raises(BadSettings, match="unknown key 'lesion'"):
        samseg.load(options("run_samseg") | {"lesion": True}, 1)
