"""Every listed backend of the imaging stages keeps its stage's contract."""

import os
from pathlib import Path

import numpy as np
import pytest

from msdiff.antspy import limit_threads
from msdiff.errors import BadSettings
from msdiff.images import Volume, axis_aligned_grid, save
from msdiff.parcellation import regions
from msdiff.preprocess import bias, normalisation, registration, skull_stripping
from msdiff.preprocess.registration import RawScan, register_patient
from msdiff.settings import Choice
from msdiff.spaces import resample
from msdiff.template import load_template, template_brain

GRID = axis_aligned_grid((48, 56, 24), (4.0, 4.0, 8.0), (0.0, -18.0, 8.0))

SEARCH = {
    "spacing_mm": 10.0,
    "angles_degrees": [-20.0, 0.0, 20.0],
    "shifts_mm": [-25.0, 0.0, 25.0],
    "scales": [0.87, 1.0],
    "scale_range": [0.78, 1.08],
    "candidates": 2,
    "histogram_bins": 24,
    "tolerance_mm": 0.5,
    "judge_spacing_mm": 5.0,
}
DEFORMATION = {
    "iterations": [10, 2],
    "gradient_step": 0.2,
    "flow_sigma_voxels": 3.0,
    "total_sigma_voxels": 0.0,
    "histogram_bins": 32,
    "seed": 1,
}
BRAIN_ML = {"min_brain_ml": 500.0, "max_brain_ml": 2500.0}
OPTIONS = {
    registration: {
        "ants": {
            "search": SEARCH,
            "refinement": {
                "iterations": [40, 10],
                "shrink_factors": [2, 1],
                "smoothing_sigmas_voxels": [1.0, 0.0],
                "sampling_rate": 0.3,
                "histogram_bins": 32,
                "seed": 1,
            },
        },
        "greedy": {"search": SEARCH, "descent": {"iterations": [40, 10], "seed": 1}},
        "plain": {"search": SEARCH, "spacings_mm": [8.0], "tolerance_mm": 0.2},
    },
    bias: {
        "ants": {
            "shrink_factor": 3,
            "spline_spacing_mm": 150.0,
            "iterations": [20, 10],
            "tolerance": 1e-4,
            "margin_mm": 4.0,
        },
        "none": {},
    },
    skull_stripping: {
        "deepbet": BRAIN_ML | {"threshold": 0.5},
        "ants": BRAIN_ML | {"working_spacing_mm": 6.0, "margin_mm": 6.0, "deformation": DEFORMATION},
        "plain": BRAIN_ML | {"threshold": 0.4, "opening_mm": 4.0, "margin_mm": 6.0},
        # Found on the PATH; see the fixture `brain_commands`.
        "hd_bet": BRAIN_ML | {"command": "hd-bet", "arguments": ["-device", "cpu", "--save_bet_mask"]},
        "synthstrip": BRAIN_ML | {"command": "mri_synthstrip", "weights": None, "border_mm": 1},
        "given": BRAIN_ML,
        "stripped": BRAIN_ML | {"threshold": 0.2, "closing_mm": 5.0},
    },
    normalisation: {
        "percentile": {
            "gain": "median",
            "low_percentile": 0.5,
            "high_percentile": 99.5,
            "low_value": -1.0,
            "high_value": 0.4,
        },
        "zscore": {"gain": "median", "deviations": 5.0},
        "whitestripe": {"gain": "median", "width": 0.05, "deviations": 40.0, "centre": 0.0},
    },
    regions: {
        "atlas": {"deformation": DEFORMATION},
        "plain": {"smoothing_mm": 2.0, "rounds": 20},
        "template": {},
    },
}


# Backends that live in an environment or a program of their own: their tests run them through the stage.
ELSEWHERE = {
    "synthseg": "tests/tensorflow/test_synthseg.py",
    "freesurfer": "tests/unit/parcellation/test_freesurfer.py",
    "samseg": "tests/unit/parcellation/test_samseg.py",
}


def choices(stage):
    """One test case per backend that the stage lists; a listed backend without options here fails by name."""
    names = [name for name in stage.BACKENDS if name not in ELSEWHERE]
    return [pytest.param(Choice(backend=name, options=OPTIONS[stage][name]), id=name) for name in names]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    limit_threads(1)


@pytest.fixture(scope="module")
def in_mni(head):
    return resample(head, GRID, np.eye(4))


@pytest.mark.parametrize("choice", choices(registration))
def test_registration_finds_two_poses(choice, head, scan_head, apart_mm):
    scans, poses = zip(
        *(scan_head(head, degrees, mm) for degrees, mm in [((12, -8, 6), (9, -6, 12)), ((-7, 5, -15), (-12, 8, -5))]),
        strict=True,
    )
    patient = [RawScan(f"ses-{k}", {"t1w": scan}, {}, None) for k, scan in enumerate(scans)]
    maps = register_patient(patient, ["t1w"], GRID, choice)
    between = maps[1]["t1w"] @ np.linalg.inv(maps[0]["t1w"])
    in_head = np.linalg.inv(poses[0])
    assert apart_mm(between @ poses[0], poses[1] @ in_head @ poses[0]) < 2.0
    assert apart_mm(maps[0]["t1w"], poses[0]) < 5.0


@pytest.mark.parametrize("name", registration.BACKENDS)
def test_registration_refuses_unknown_options(name, head):
    with pytest.raises(BadSettings, match="unknown key 'sharpness'"):
        register_patient(
            [RawScan("ses-0", {"t1w": head}, {}, None)],
            ["t1w"],
            GRID,
            Choice(backend=name, options=OPTIONS[registration][name] | {"sharpness": 1}),
        )


@pytest.mark.parametrize("choice", choices(bias))
def test_bias_keeps_grid_and_sign(choice, in_mni):
    corrected = bias.correct_bias(in_mni, choice)
    assert corrected.data.dtype == np.float32
    assert corrected.data.shape == GRID.shape
    assert np.isfinite(corrected.data).all()
    assert corrected.data.min() >= 0


def test_n4_removes_a_field(in_mni):
    white = np.asarray(load_template("wm", GRID).data) > 0.9
    y = np.linspace(-1, 1, GRID.shape[1])[None, :, None]
    tilted = Volume((in_mni.data * (1 + 0.4 * y)).astype(np.float32), in_mni.affine)
    choice = Choice(backend="ants", options=OPTIONS[bias]["ants"])
    corrected = bias.correct_bias(tilted, choice).data[white]
    before = tilted.data[white]
    assert corrected.std() / corrected.mean() < 0.6 * before.std() / before.mean()


@pytest.fixture
def brain_commands(tmp_path, monkeypatch):
    """Commands on the PATH that are called as HD-BET and SynthStrip are, and know the template's brain."""
    save(Volume(template_brain(GRID), GRID.affine), tmp_path / "known.nii.gz")
    for name, mask in (("hd-bet", "brain_bet.nii.gz"), ("mri_synthstrip", "brain_mask.nii.gz")):
        (tmp_path / name).write_text(f"#!/bin/sh\ntest -f image.nii.gz && cp {tmp_path}/known.nii.gz {mask}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)


@pytest.fixture(scope="module")
def session(in_mni):
    """A session whose corrected image shows the head, whose registered one comes without skull, and with a mask."""
    brain = template_brain(GRID)
    alone = Volume(np.where(brain, in_mni.data, 0).astype(np.float32), GRID.affine)
    return skull_stripping.Session({"t1w": alone}, {"t1w": in_mni}, brain)


@pytest.mark.usefixtures("brain_commands")
@pytest.mark.parametrize("choice", choices(skull_stripping))
def test_stripping_finds_the_brain(choice, session):
    found = skull_stripping.strip_skull({"ses-0": session}, choice, 1, "sub-01")
    truth = template_brain(GRID)
    assert found.data.dtype == bool
    dice = 2 * (found.data & truth).sum() / (found.data.sum() + truth.sum())
    assert dice > 0.93


@pytest.mark.parametrize("name", skull_stripping.BACKENDS)
def test_stripping_refuses_unknown_options(name, session):
    choice = Choice(backend=name, options=OPTIONS[skull_stripping][name] | {"sharpness": 1})
    with pytest.raises(BadSettings, match=f"skull_stripping.{name}: unknown key 'sharpness'"):
        skull_stripping.strip_skull({"ses-0": session}, choice, 1, "sub-01")


@pytest.mark.parametrize("choice", choices(normalisation))
def test_normalisation_keeps_change(choice, in_mni):
    brain = template_brain(GRID)
    lesion = np.zeros(GRID.shape, dtype=bool)
    lesion[30:33, 28:31, 14] = True
    baseline = np.asarray(in_mni.data)
    follow_up = (1.3 * np.where(lesion, 0.5 * baseline, baseline)).astype(np.float32)
    images, line = normalisation.normalise({"ses-0": baseline, "ses-1": follow_up}, brain, "t1w", choice)
    for data in images.values():
        assert data.dtype == np.float32
        assert data.min() >= -1
        assert data.max() <= 1
        assert (data[~brain] == -1).all()
    kept = brain & ~lesion
    assert np.abs(images["ses-1"] - images["ses-0"])[kept].max() < 0.02
    assert (images["ses-0"] - images["ses-1"])[lesion].mean() > 0.1
    assert line.gains["ses-1"] == pytest.approx(1 / 1.3, rel=0.01)


def brain_scan(head, lesions=None):
    """The head as a scan of the parcellation stage, with lesions as dark as cortex."""
    brain = template_brain(GRID)
    data = np.where(brain, head.data / 350 - 1, -1).astype(np.float32)
    if lesions is not None:
        data[lesions] = 0.1
    return regions.MniScan({"t1w": Volume(data, head.affine)}, {"t1w": head}, brain)


def parcellated(scan, choice):
    limits = regions.VolumeLimits(min_brain_ml=500.0, max_brain_ml=2500.0)
    settings = regions.ParcellationSettings(**dict(choice), limits=limits)
    [(name, labels)] = regions.parcellate([("sub-01", scan)], settings, 1)
    assert name == "sub-01"
    return labels.data


@pytest.mark.parametrize("choice", choices(regions))
def test_parcellation_labels_halves_and_tissues(choice, in_mni):
    scan = brain_scan(in_mni)
    labels = parcellated(scan, choice)
    assert labels.dtype == np.int32
    assert set(np.unique(labels)) <= set(regions.LABELS)
    assert (labels[~scan.brain] == 0).all()
    assert (labels[scan.brain] > 0).mean() > 0.9
    white = np.isin(labels, (2, 41))
    truth = np.asarray(load_template("wm", GRID).data) > 0.5
    assert 2 * (white & truth).sum() / (white.sum() + truth.sum()) > 0.7
    x_mm = GRID.affine[0, 0] * np.argwhere(labels == 2)[:, 0] + GRID.affine[0, 3]
    assert np.median(x_mm) < 0
    assert (x_mm < 4).mean() > 0.98


@pytest.mark.parametrize("name", ["atlas", "template"])
def test_lesions_stay_white_matter_in_the_atlas(name, in_mni):
    lesions = np.zeros(GRID.shape, dtype=bool)
    lesions[16:19, 32:36, 15] = lesions[30:33, 20:23, 15] = True
    lesions &= np.asarray(load_template("wm", GRID).data) > 0.8
    atlas = Choice(backend=name, options=OPTIONS[regions][name])
    labels = parcellated(brain_scan(in_mni, lesions), atlas)
    assert lesions.sum() > 5
    assert np.isin(labels[lesions], (2, 41)).mean() > 0.9


@pytest.mark.parametrize("stage", OPTIONS, ids=lambda stage: stage.__name__.rpartition(".")[2])
def test_every_listed_backend_is_tested(stage):
    assert set(OPTIONS[stage]) | set(ELSEWHERE) >= set(stage.BACKENDS)
    assert set(OPTIONS[stage]) <= set(stage.BACKENDS)


@pytest.mark.parametrize("name", ELSEWHERE)
def test_backends_elsewhere_are_tested_there(name):
    assert name in regions.BACKENDS
    assert f"{name}" in (Path(__file__).parents[2] / ELSEWHERE[name]).read_text()


def test_deepbet_repeats_itself_to_the_bit(session):
    choice = Choice(backend="deepbet", options=OPTIONS[skull_stripping]["deepbet"])
    first, second = (skull_stripping.strip_skull({"ses-0": session}, choice, 1, "sub-01").data for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_ants_repeats_itself_to_the_bit(in_mni, session):
    """One thread and one seed; ANTs sums over threads in the order in which they finish."""
    stripping = Choice(backend="ants", options=OPTIONS[skull_stripping]["ants"])
    first, second = (skull_stripping.strip_skull({"ses-0": session}, stripping, 1, "sub-01").data for _ in range(2))
    np.testing.assert_array_equal(first, second)
    options = Choice(backend="ants", options=OPTIONS[bias]["ants"])
    np.testing.assert_array_equal(*(bias.correct_bias(in_mni, options).data for _ in range(2)))


@pytest.mark.parametrize("name", ["ants", "greedy"])
def test_the_same_pose_is_found_twice(name, head, scan_head):
    scan, _ = scan_head(head, (5, -3, 4), (4, -2, 6))
    patient = [RawScan("ses-0", {"t1w": scan}, {}, None)]
    choice = Choice(backend=name, options=OPTIONS[registration][name])
    first, second = (register_patient(patient, ["t1w"], GRID, choice)[0]["t1w"] for _ in range(2))
    np.testing.assert_array_equal(first, second)
