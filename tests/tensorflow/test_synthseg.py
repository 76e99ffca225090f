"""The backend `synthseg` with real networks, from the weights file to the labels of a patient."""

import json
import logging

import numpy as np
import pytest

from msdiff.__main__ import main
from msdiff.errors import BadInput
from msdiff.images import Volume, axis_aligned_grid, load_labels, save
from msdiff.parcellation import synthseg
from msdiff.parcellation.regions import LABELS, MniScan, ParcellationSettings, VolumeLimits, parcellate

keras = pytest.importorskip("keras", reason="TensorFlow is not installed; make environment-synthseg")

from msdiff.parcellation.synthseg_network import build  # noqa: E402

LIMITS = {"min_brain_ml": 500.0, "max_brain_ml": 2500.0}
OPTIONS = {
    "weights": None,
    "sha256": None,
    "contrasts": ["t1w", "flair"],
    "image": "heads",
    "margin_mm": 0.0,
    "fast": True,
}
# The intensity, of the brightest, at which the network of `reads_intensities` sees each label.
LEVELS = {0: 0.0, 2: 1.0, 3: 0.75, 41: 0.5, 42: 0.25}


@pytest.fixture(scope="module")
def reads_intensities(tmp_path_factory, write_legacy):
    """A file like the official one, of a small network with weights set by hand: one path, from image to likelihood.

    The likelihood of a label is highest where the intensity is nearest to its level.
    """
    model = build(features=2, levels=3, convolutions=2, labels=len(LABELS))
    for layer in model.layers:
        arrays = [np.zeros(array.shape) for array in layer.get_weights()]
        if "_bn_" in layer.name:
            arrays[0] += 1
            arrays[3] += 1 - 1e-3
        layer.set_weights(arrays)
    for name in ("downarm_0_0", "downarm_0_1", "uparm_4_0", "uparm_4_1"):
        layer = model.get_layer(f"unet_conv_{name}")
        kernel, bias = layer.get_weights()
        kernel[1, 1, 1, 0, 0] = 1
        layer.set_weights([kernel, bias])
    likelihood = model.get_layer("unet_likelihood")
    kernel, bias = likelihood.get_weights()
    for k, code in enumerate(LABELS):
        level = LEVELS.get(code, 9.0)
        kernel[0, 0, 0, 0, k], bias[k] = 400 * level, -200 * level**2
    likelihood.set_weights([kernel, bias])
    return str(write_legacy(tmp_path_factory.mktemp("weights") / "synthseg_2.0.h5", model))


def patient(shape, spacing_mm, contrast="t1w"):
    """A brain of four quarters, left to right white matter and cortex, each as bright as the network wants it."""
    grid = axis_aligned_grid(shape, spacing_mm, (0.0, -18.0, 8.0))
    x, y, z = (grid.affine[axis, axis] * np.arange(size) + grid.affine[axis, 3] for axis, size in enumerate(grid.shape))
    x, y, z = np.broadcast_arrays(x[:, None, None], y[None, :, None], z[None, None, :])
    brain = (np.abs(x) < 52) & (np.abs(y + 18) < 60) & (np.abs(z - 8) < 48)
    truth = np.where(brain, np.where(x < 0, np.where(y < -18, 3, 2), np.where(y < -18, 42, 41)), 0)
    head = Volume((700 * np.vectorize(LEVELS.get)(truth)).astype(np.float32), grid.affine)
    normalised = Volume(np.where(brain, head.data / 350 - 1, -1).astype(np.float32), grid.affine)
    return MniScan({contrast: normalised}, {contrast: head}, brain), truth


def settings(path, **options):
    options = OPTIONS | {"weights": path} | options
    return ParcellationSettings(backend="synthseg", options=options, limits=VolumeLimits(**LIMITS))


def test_many_scans_of_many_sizes_with_one_load(reads_intensities, monkeypatch):
    loads, traces = [], []
    monkeypatch.setattr("msdiff.parcellation.synthseg_network.build", lambda *size: loads.append(size) or build(*size))
    monkeypatch.setattr(
        synthseg, "runner", lambda tensorflow, model, made=synthseg.runner: made(tensorflow, Counted(model, traces))
    )
    given = [patient((60, 70, 60), (2.0, 2.0, 2.0)), patient((110, 130, 36), (1.0, 1.0, 3.0), "flair")]
    scans = [(f"sub-{number}", scan) for number, (scan, _) in enumerate(given)]
    found = dict(parcellate(scans, settings(reads_intensities), 1))
    for (_, truth), labels in zip(given, found.values(), strict=True):
        assert labels.data.dtype == np.int32
        # Quarters meet where linear interpolation passes other labels' levels.
        assert (labels.data == truth)[truth > 0].mean() > 0.95
    assert loads == [(2, 3, 2, 33)]
    assert len(traces) == 1


class Counted:
    """A network that counts how often it is traced."""

    def __init__(self, model, traces):
        self.model, self.traces = model, traces

    def __call__(self, image, training):
        self.traces.append(image.shape)
        return self.model(image, training=training)


def test_the_command_writes_labels_and_volumes(reads_intensities, tmp_path, caplog):
    truths = {}
    folders = {name: [] for name in ("normalised", "corrected", "stripped")}
    for number in (1, 2):
        scan, truth = patient((56, 64, 26), (2.0, 2.0, 4.0))
        subject = f"sub-{number}"
        truths[subject] = truth
        for name, images in (("normalised", scan.normalised), ("corrected", scan.heads)):
            save(images["t1w"], tmp_path / name / subject / "ses-1_t1w.nii.gz")
        brain = Volume(scan.brain, scan.heads["t1w"].affine)
        save(brain, tmp_path / "stripped" / subject / "brain_mask.nii.gz")
        for name, given in folders.items():
            given.append(str(tmp_path / name / subject))
    arguments = [word for name, given in folders.items() for word in (f"--{name}", *given)]
    chosen = {"backend": "synthseg", "options": OPTIONS | {"weights": reads_intensities}, "limits": LIMITS}
    out = tmp_path / "regions/000"
    ending = ["--out", str(out), "--threads", "1", "--settings", json.dumps(chosen)]
    with caplog.at_level(logging.INFO):
        assert main(["parcellate", *arguments, *ending]) == 0
    assert "features=2, levels=3, convolutions=2, labels=33" in caplog.text
    for subject, truth in truths.items():
        labels = load_labels(out / subject / "regions.nii.gz").data
        assert (labels == truth)[truth > 0].mean() > 0.95
        assert (out / subject / "volumes.tsv").read_text().count("\n") == 5


def test_a_run_repeats_itself_to_the_bit(reads_intensities):
    scan, _ = patient((56, 64, 26), (2.0, 2.0, 4.0))
    first, second = (synthseg.load(OPTIONS | {"weights": reads_intensities, "fast": False}, 1)(scan) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_both_sides_count_half(reads_intensities):
    """This network knows no sides: its mirror image votes for the other one, and tissues stay what they are."""
    scan, truth = patient((56, 64, 26), (2.0, 2.0, 4.0))
    labels = synthseg.load(OPTIONS | {"weights": reads_intensities, "fast": False}, 1)(scan)
    for tissue in ((2, 41), (3, 42)):
        assert np.isin(labels[np.isin(truth, tissue)], tissue).mean() > 0.9


def test_weights_of_another_network_are_refused(tmp_path):
    import h5py

    with h5py.File(tmp_path / "synthseg_parc_2.0.h5", "w") as file:
        file["unet_parc_conv_downarm_0_0/unet_parc_conv_downarm_0_0/kernel:0"] = np.zeros((3, 3, 3, 3, 24))
    with pytest.raises(BadInput, match=r"expected weights of SynthSeg's U-Net .* the robust, parcellation and quality"):
        synthseg.load(OPTIONS | {"weights": str(tmp_path / "synthseg_parc_2.0.h5")}, 1)


def test_what_no_brain_looks_like_is_refused(reads_intensities):
    scan, _ = patient((60, 70, 60), (2.0, 2.0, 2.0))
    dark = scan._replace(heads={"t1w": Volume(np.zeros_like(scan.heads["t1w"].data), scan.heads["t1w"].affine)})
    with pytest.raises(BadInput, match="sub-1: expected 500 to 2500 ml in all regions, found 0"):
        list(parcellate([("sub-1", dark)], settings(reads_intensities), 1))
