"""SynthSeg around its network: weights, labels, retry, a scan's way; tests/tensorflow has what needs TensorFlow."""

import json
import logging
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest

from msdiff.errors import BadInput, BadSettings
from msdiff.images import Volume, axis_aligned_grid
from msdiff.parcellation import synthseg
from msdiff.parcellation.regions import LABELS, MniScan

GRID = axis_aligned_grid((60, 64, 20), (1.0, 1.0, 3.0), (0.0, -10.0, 5.0))
OPTIONS = {
    "weights": None,
    "sha256": None,
    "contrasts": ["t1w", "flair"],
    "image": "heads",
    "margin_mm": 8.0,
    "fast": False,
}


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "w.h5"
    path.write_bytes(b"weights")
    return path


def test_missing_weights_say_where_to_get_them(tmp_path):
    with pytest.raises(BadInput, match=r"none.h5: no such file; FreeSurfer installs the official one as .*SynthSeg"):
        synthseg.load(OPTIONS | {"weights": str(tmp_path / "none.h5")}, 1)


def test_weights_of_another_digest_are_refused(weights, caplog):
    with pytest.raises(BadInput, match=f"expected SHA-256 {'0' * 64}, got 9a129038"):
        synthseg.load(OPTIONS | {"weights": str(weights), "sha256": "0" * 64}, 1)
    with caplog.at_level(logging.INFO):
        synthseg.check_digest(weights, None)
    assert "9a129038" in caplog.text
    assert "not a published file" in caplog.text


def test_weights_keep_the_digest_of_their_description(weights):
    weights.with_suffix(".json").write_text(json.dumps({"sha256": "1" * 64}))
    with pytest.raises(BadInput, match=f"expected SHA-256 {'1' * 64}, got 9a129038"):
        synthseg.load(OPTIONS | {"weights": str(weights)}, 1)


def test_without_tensorflow_the_way_out_is_told(weights, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorflow", None)
    with pytest.raises(BadInput, match=r"needs TensorFlow, .*make environment-synthseg"):
        synthseg.load(OPTIONS | {"weights": str(weights)}, 1)


@pytest.mark.parametrize("wrong", [{"image": "raw"}, {"sha256": "abc"}, {"margin_mm": -1.0}, {"threshold": 0.2}])
def test_unknown_options_are_refused(wrong):
    with pytest.raises(BadSettings, match=rf"parcellation.synthseg: .*{next(iter(wrong))}"):
        synthseg.load(OPTIONS | wrong, 1)


def test_official_weights_are_told_by_their_labels(weights):
    labels, spacing_mm = synthseg.description(weights, 33)
    assert (labels, spacing_mm) == (tuple(LABELS), 1.0)
    labels, _ = synthseg.description(weights, 32)
    assert 24 not in labels
    assert len(labels) == 32
    with pytest.raises(
        BadInput, match=r"expected posteriors of 33 or 32 labels, got 7; describe other weights in w.json"
    ):
        synthseg.description(weights, 7)


def test_other_weights_describe_themselves(weights):
    told = weights.with_suffix(".json")
    told.write_text(json.dumps({"labels": [0, 2, 41], "spacing_mm": 2, "training": {}}))
    assert synthseg.description(weights, 3) == ((0, 2, 41), 2.0)
    with pytest.raises(BadInput, match=r"w.json: expected 4 of the labels .* got \[0, 2, 41\]"):
        synthseg.description(weights, 4)
    told.write_text(json.dumps({"labels": [2, 41, 77], "spacing_mm": 2}))
    with pytest.raises(BadInput, match=r"w.json: expected 3 of the labels"):
        synthseg.description(weights, 3)
    told.write_text("[1")
    with pytest.raises(BadInput, match=r"w.json: expected the description of w.h5, cannot read it"):
        synthseg.description(weights, 3)
    told.write_text(json.dumps({"labels": [0, 2, 41]}))
    with pytest.raises(BadInput, match=r"w.json: expected labels and spacing_mm"):
        synthseg.description(weights, 3)


class OutOfMemoryError(Exception):
    pass


def fake_tensorflow(places):
    """What `guarded` uses of TensorFlow; devices that are asked for are written down."""

    def device(name):
        places.append(name)
        return nullcontext()

    return SimpleNamespace(errors=SimpleNamespace(ResourceExhaustedError=OutOfMemoryError), device=device)


def test_a_full_gpu_means_once_more_on_the_cpu(caplog):
    places = []

    def network(image):
        if not places:
            raise OutOfMemoryError
        return image + 1

    run = synthseg.guarded(network, fake_tensorflow(places))
    np.testing.assert_array_equal(run(np.zeros((2, 2, 2))), np.ones((2, 2, 2)))
    assert places == ["/CPU:0"]
    assert "once more on the CPU" in caplog.text


def test_a_full_cpu_is_an_error():
    def network(image):
        raise OutOfMemoryError

    with pytest.raises(OutOfMemoryError):
        synthseg.guarded(network, fake_tensorflow([]))(np.zeros((2, 2, 2)))


def scan_of(**images):
    """A ball of brain in a head, its centre to the left, and a bright spot far away."""
    x, y, z = np.indices(GRID.shape)
    centre = ((x - 22) ** 2 + (y - 36) ** 2 + (3 * (z - 9)) ** 2) ** 0.5
    brain = centre < 14
    heads = {
        name: Volume((np.where(brain, bright, 20) + 400 * (y < 3)).astype(np.float32), GRID.affine)
        for name, bright in images.items()
    }
    normalised = {name: Volume(np.where(brain, 0.5, -1).astype(np.float32), GRID.affine) for name in images}
    return MniScan(normalised, heads, brain)


def finds_bright(image):
    """Left white matter where bright, whichever side it is on, and right where it is mirrored."""
    finds_bright.shapes.append(image.shape)
    bright = image > 0.5
    left = bright & (np.arange(len(image)) < len(image) / 2)[:, None, None]
    return np.stack([~bright, left, bright & ~left], axis=-1).astype(np.float32)


@pytest.mark.parametrize("image", ["heads", "normalised"])
@pytest.mark.parametrize("spacing_mm", [1.0, 2.0])
def test_a_scan_comes_back_on_its_grid(image, spacing_mm, caplog):
    scan = scan_of(flair=900.0, t1w=800.0)
    settings = synthseg.SynthSegOptions.model_validate_json(json.dumps(OPTIONS | {"image": image}))
    finds_bright.shapes = []
    model = synthseg.Model(finds_bright, (0, 2, 41), spacing_mm, 32)
    with caplog.at_level(logging.INFO):
        labels = synthseg.parcellate(scan, model, settings)
    assert "looks at t1w" in caplog.text
    assert labels.shape == GRID.shape
    assert labels.dtype == np.int32
    assert ((labels > 0) == scan.brain)[8:].mean() > 0.97
    # The brain's box and its margin alone: 27 mm and twice 8.
    assert set(finds_bright.shapes) == {(64, 64, 64) if spacing_mm == 1 else (32, 32, 32)}


def test_the_first_contrast_wanted_is_looked_at(caplog):
    settings = synthseg.SynthSegOptions.model_validate_json(json.dumps(OPTIONS))
    finds_bright.shapes = []
    model = synthseg.Model(finds_bright, (0, 2, 41), 2.0, 32)
    with caplog.at_level(logging.INFO):
        synthseg.parcellate(scan_of(t2w=900.0, flair=800.0), model, settings)
        synthseg.parcellate(scan_of(t2w=900.0, dir=800.0), model, settings)
    assert [record.args[0] for record in caplog.records] == ["flair", "dir"]


def test_the_box_is_that_of_the_brain():
    scan = scan_of(t1w=800.0)
    box = synthseg.brain_box(scan, GRID)
    inside = np.argwhere(scan.brain) @ GRID.affine[:3, :3].T + GRID.affine[:3, 3]
    np.testing.assert_allclose(box.affine[:3, 3], inside.min(axis=0))
    ends = box.affine[:3, 3] + box.spacing_mm * (np.array(box.shape) - 1)
    np.testing.assert_allclose(ends, inside.max(axis=0))
    assert synthseg.brain_box(scan._replace(brain=np.zeros(GRID.shape, bool)), GRID) is None
