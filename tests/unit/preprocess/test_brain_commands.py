"""HD-BET and SynthStrip as commands: how they are called, what is read back, and every way in which they may fail."""

import json
import sys

import numpy as np
import pytest

from msdiff.errors import BadInput
from msdiff.images import Volume, axis_aligned_grid
from msdiff.preprocess.brain_commands import hd_bet, synthstrip
from msdiff.preprocess.skull_stripping import Session

GRID = axis_aligned_grid((6, 7, 8), (2.0, 2.0, 3.0), (0.0, 0.0, 0.0))
VERSION_1 = ["-device", "cpu", "-mode", "fast", "-tta", "0", "-s", "1"]
VERSION_2 = ["-device", "cpu", "--disable_tta", "--save_bet_mask", "--no_bet_image"]
# A command that writes down how it was called, and takes for brain what is brighter than 50.
SCRIPT = f"""#!{sys.executable}
import json, os, sys
import nibabel as nib
import numpy as np
called = {{"arguments": sys.argv[1:], "threads": os.environ["OMP_NUM_THREADS"]}}
json.dump(called, open("CALLED", "w"))
image = nib.load("image.nii.gz")
mask = nib.Nifti1Image((image.get_fdata() > 50).astype(np.uint8), image.affine)
nib.save(mask, "MASK")
"""


def script(called, mask):
    return SCRIPT.replace("CALLED", str(called)).replace("MASK", mask)


@pytest.fixture
def session():
    data = np.random.default_rng(0).uniform(0, 100, GRID.shape).astype(np.float32)
    return Session({}, {"t1w": Volume(data, GRID.affine)}, None)


@pytest.fixture
def install(tmp_path, monkeypatch):
    """A function that puts a command on the PATH."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    (tmp_path / "bin").mkdir()

    def write(name, text):
        path = tmp_path / "bin" / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    return write


@pytest.fixture
def called(tmp_path):
    """Where the command writes down how it was called."""
    return tmp_path / "called.json"


@pytest.mark.parametrize(
    ("arguments", "mask"), [(VERSION_1, "brain_mask.nii.gz"), (VERSION_2, "brain_bet.nii.gz")], ids=["1", "2"]
)
def test_hd_bet_of_both_versions(arguments, mask, session, install, called):
    install("hd-bet", script(called, mask=mask))
    brain = hd_bet(session, {"command": "hd-bet", "arguments": arguments}, 3)
    np.testing.assert_array_equal(brain, session.image.data > 50)
    said = json.loads(called.read_text())
    assert said == {"arguments": ["-i", "image.nii.gz", "-o", "brain.nii.gz", *arguments], "threads": "3"}


@pytest.mark.parametrize("weights", [None, "synthstrip.1.pt"])
def test_synthstrip_with_and_without_weights(weights, session, install, called, tmp_path, monkeypatch):
    (tmp_path / "synthstrip.1.pt").write_text("weights")
    monkeypatch.chdir(tmp_path)
    install("mri_synthstrip", script(called, mask="brain_mask.nii.gz"))
    brain = synthstrip(session, {"command": "mri_synthstrip", "weights": weights, "border_mm": 2}, 1)
    np.testing.assert_array_equal(brain, session.image.data > 50)
    last = [] if weights is None else ["--model", str(tmp_path / weights)]
    expected = ["-i", "image.nii.gz", "-m", "brain_mask.nii.gz", "-b", "2", *last]
    assert json.loads(called.read_text())["arguments"] == expected


def test_command_may_be_a_path_from_here(session, install, called, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    install("other-name", script(called, mask="brain_bet.nii.gz"))
    assert hd_bet(session, {"command": "bin/other-name", "arguments": []}, 1).any()


@pytest.mark.parametrize(
    ("strip", "options", "place"),
    [
        (hd_bet, {"command": "no-such-command", "arguments": []}, "pip install hd-bet"),
        (synthstrip, {"command": "no-such-command", "weights": None, "border_mm": 1}, "nipreps-synthstrip"),
    ],
    ids=["hd_bet", "synthstrip"],
)
def test_missing_command_says_where_to_get_it(strip, options, place, session):
    with pytest.raises(BadInput, match=f"found no 'no-such-command'; install it .*{place}") as refusal:
        strip(session, options, 1)
    assert f"skull_stripping.{strip.__name__}.command" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_missing_weights_say_where_to_get_them(session, install):
    install("nipreps-synthstrip", "#!/bin/sh\n")
    options = {"command": "nipreps-synthstrip", "weights": "nowhere/synthstrip.1.pt", "border_mm": 1}
    with pytest.raises(BadInput, match=r"weights: no such file nowhere/synthstrip.1.pt; get synthstrip.1.pt from"):
        synthstrip(session, options, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("echo no GPU >&2; exit 3", "ended with exit code 3, its last line: no GPU"),
        ("echo done", r"wrote no mask \(brain_bet.nii.gz or brain_mask.nii.gz\), its last line: done"),
        ("exit 1", "ended with exit code 1, its last line: nothing"),
        ("echo text > brain_bet.nii.gz", "expected a NIfTI image"),
    ],
    ids=["fails", "writes nothing", "says nothing", "writes text"],
)
def test_failures_are_told_in_one_line(text, message, session, install):
    install("hd-bet", f"#!/bin/sh\n{text}\n")
    with pytest.raises(BadInput, match=message) as refusal:
        hd_bet(session, {"command": "hd-bet", "arguments": []}, 1)
    assert "\n" not in str(refusal.value)


def test_mask_on_another_grid_is_refused(session, install, called):
    text = script(called, mask="brain_bet.nii.gz")
    install("hd-bet", text.replace("image.get_fdata() >", "image.get_fdata()[1:] >"))
    with pytest.raises(BadInput, match="expected the grid of its image"):
        hd_bet(session, {"command": "hd-bet", "arguments": []}, 1)
