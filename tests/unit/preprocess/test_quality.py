import json
import os
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from msdiff.errors import BadSettings
from msdiff.images import Volume, axis_aligned_grid, load_image, load_mask
from msdiff.preprocess.quality import (
    MEASURES,
    Anatomy,
    CheckedScan,
    QualitySettings,
    correlation,
    coverage,
    flags,
    head_motion,
    in_words,
    measure,
    noise,
    normalised_mutual_information,
    residual_shift_mm,
    score,
)
from msdiff.settings import check
from msdiff.spaces import load_itk_affine, resample
from msdiff.template import load_template, template_brain

LIMITS = {
    "coverage": [0.95, None],
    "brain_ml": [800.0, 2100.0],
    "template_dice": [0.88, None],
    "residual_shift_mm": [None, 1.0],
    "snr": [10.0, None],
    "lesion_outside_ml": [None, 0.1],
}
SETTINGS = check(QualitySettings, {"histogram_bins": 32, "smoothing_mm": 4.0, "limits": LIMITS})
GRID = axis_aligned_grid((64, 76, 32), (3.0, 3.0, 5.0), (0.0, -18.0, 8.0))
SHARED = os.environ.get("MSDIFF_SHARED")


def pose(degrees, shift_mm, scale=1.0):
    """A map (4, 4) that turns, moves and scales about the middle of the grid."""
    centre = np.array([0.0, -18.0, 8.0])
    matrix = np.eye(4)
    matrix[:3, :3] = scale * Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    matrix[:3, 3] = centre - matrix[:3, :3] @ centre + np.array(shift_mm)
    return matrix


@pytest.fixture(scope="module")
def brain():
    return template_brain(GRID)


@pytest.fixture(scope="module")
def image():
    """The template's head, with something around the brain."""
    t1 = np.asarray(load_template("t1", GRID).data) * 600
    return Volume((t1 + 40).astype(np.float32), GRID.affine)


def labels(brain):
    """White matter, grey matter and fluid where the template has them."""
    white, grey = (np.asarray(load_template(name, GRID).data) for name in ("wm", "gm"))
    return np.where(brain, np.where(white > 0.6, 2, np.where(grey > 0.5, 3, 24)), 0).astype(np.int32)


@pytest.fixture(scope="module")
def anatomy(brain):
    t1 = np.asarray(load_template("t1", GRID).data, dtype=np.float32)
    return Anatomy(GRID, brain, labels(brain), t1, brain)


def scan(image, matrix=np.eye(4), masks=None, noise_sd=10.0, seed=0):  # noqa: B008
    """A session whose raw scan lies where the map takes the grid, and whose preprocessing was without fault."""
    field = axis_aligned_grid((100, 110, 50), (2.5, 2.5, 5.0), tuple((matrix @ [0.0, -18.0, 8.0, 1.0])[:3]))
    raw = resample(image, field, np.linalg.inv(matrix))
    data = raw.data + np.random.default_rng(seed).normal(0, noise_sd, raw.data.shape)
    raw = Volume(data.astype(np.float32), raw.affine)
    corrected = resample(raw, GRID, matrix)
    normalised = {"flair": (corrected.data / 640 * 2 - 1).astype(np.float32)}
    return CheckedScan(raw, {"flair": field}, {"flair": matrix}, corrected, normalised, masks or {}, 1.0, 0.005)


@pytest.mark.parametrize("shift", [(0.0, 0.0, 0.0), (1.0, -1.5, 0.8), (-2.0, 1.0, 2.5)])
def test_residual_shift_is_that_of_a_shifted_copy(image, brain, shift):
    moved = resample(image, GRID, pose((0, 0, 0), shift))
    found = residual_shift_mm(image, moved, brain, SETTINGS.smoothing_mm)
    assert found == pytest.approx(np.linalg.norm(shift), rel=0.1, abs=0.02)


def test_residual_shift_is_that_of_a_turned_copy_of_another_gain(image, brain):
    matrix = pose((1.5, -1.0, 2.0), (0.5, 0.0, 0.0))
    moved = resample(image, GRID, matrix)
    points = np.argwhere(brain) @ GRID.affine[:3, :3].T + GRID.affine[:3, 3]
    truth = np.linalg.norm(points @ matrix[:3, :3].T + matrix[:3, 3] - points, axis=1).mean()
    found = residual_shift_mm(image, Volume(1.4 * moved.data + 30, GRID.affine), brain, SETTINGS.smoothing_mm)
    assert found == pytest.approx(truth, rel=0.1)


def test_residual_shift_is_not_hidden_by_the_edge_of_the_mask(image, brain):
    """One mask for both scans, as a patient has, says at its edge that nothing moved."""
    moved = resample(image, GRID, pose((0, 0, 0), (0.0, 2.0, 0.0)))
    eroded = ndimage.binary_erosion(brain, iterations=2)
    found = [residual_shift_mm(image, moved, mask, SETTINGS.smoothing_mm) for mask in (brain, eroded)]
    assert found == pytest.approx([2.0, 2.0], rel=0.1)


def test_head_motion_is_that_between_the_raw_scans():
    before, after = pose((3, -2, 5), (4, 0, -6), 0.9), pose((0, 0, 17), (1, 2, 2), 0.9)
    degrees, mm = head_motion(before, after, np.array([0.0, -18.0, 8.0]))
    turned = (
        Rotation.from_euler("xyz", (0, 0, 17), degrees=True)
        * Rotation.from_euler("xyz", (3, -2, 5), degrees=True).inv()
    )
    assert degrees == pytest.approx(np.degrees(turned.magnitude()), abs=1e-6)
    assert mm == pytest.approx(np.linalg.norm([-3, 2, 8]), abs=1e-6)


@pytest.mark.parametrize("sd", [4.0, 20.0, 60.0])
def test_noise_is_recovered(image, brain, sd):
    noisy = image.data + np.random.default_rng(1).normal(0, sd, GRID.shape)
    white = labels(brain) == 2
    clean = noise(np.asarray(image.data), white, GRID.spacing_mm)
    assert noise(noisy, white, GRID.spacing_mm) == pytest.approx(np.hypot(sd, clean), rel=0.1)
    flat = np.random.default_rng(1).normal(500, sd, GRID.shape)
    assert noise(flat, white, GRID.spacing_mm) == pytest.approx(sd, rel=0.05)


def test_noise_of_nothing_is_missing(image):
    assert np.isnan(noise(np.asarray(image.data), np.zeros(GRID.shape, dtype=bool), GRID.spacing_mm))


def test_coverage_counts_what_the_field_of_view_holds():
    points = np.argwhere(np.ones((10, 10, 10))).astype(float)
    field = axis_aligned_grid((10, 10, 10), (1.0, 1.0, 1.0), (4.5, 4.5, 4.5))
    assert coverage(points, np.eye(4), field) == 1
    assert coverage(points, pose((0, 0, 0), (3.0, 0.0, 0.0)), field) == pytest.approx(0.7)


def test_mutual_information_knows_no_sign_and_no_gain():
    rng = np.random.default_rng(2)
    first, other = rng.normal(size=20000), rng.normal(size=20000)
    assert normalised_mutual_information(first, 7 - 3 * first, 32) == pytest.approx(2, abs=0.02)
    assert normalised_mutual_information(first, other, 32) == pytest.approx(1, abs=0.02)
    assert np.isnan(normalised_mutual_information(np.ones(10), np.ones(10), 32))


def test_correlation_of_nothing_raises_no_warning():
    assert correlation(np.ones(5, dtype=np.float32), np.arange(5, dtype=np.float32)) == 0


def test_measures_of_a_good_pair(image, anatomy):
    lesion = np.zeros(GRID.shape, dtype=bool)
    lesion[30:34, 40:44, 16:18] = True
    scale = 0.9
    first = scan(image, pose((0, 0, 0), (0, 0, 0), scale))
    second = scan(image, pose((8, 0, 0), (5, 0, 0), scale), {"lesion_mask": lesion}, seed=1)
    alone, found = measure(first, None, anatomy, SETTINGS), measure(second, first, anatomy, SETTINGS)
    assert list(found) == list(MEASURES)
    assert np.isnan([alone["head_rotation_degrees"], alone["session_correlation"], alone["lesion_inside_ml"]]).all()
    assert found["head_rotation_degrees"] == pytest.approx(8, abs=1e-6)
    assert found["head_translation_mm"] == pytest.approx(5, abs=0.5)
    assert found["residual_shift_mm"] < 0.2
    assert found["session_correlation"] > 0.95
    assert found["coverage"] == 1
    assert found["template_dice"] == 1
    # Volumes are the patient's own.
    assert found["lesion_inside_ml"] == pytest.approx(32 * 0.045 * scale**3)
    assert found["brain_ml"] == pytest.approx(anatomy.brain.sum() * 0.045 * scale**3)
    assert found["lesion_outside_ml"] == 0
    white = np.median(first.raw.data[first.raw.data > 400])
    assert alone["snr"] == pytest.approx(white / 10, rel=0.25)
    assert flags(found, SETTINGS.limits) == flags(alone, SETTINGS.limits) == []


def test_lesions_outside_the_brain_are_counted_and_flagged(image, anatomy):
    lesion = np.zeros(GRID.shape, dtype=bool)
    # Half of it lies beyond the brain's side.
    edge = int(np.flatnonzero(anatomy.brain[:, 38, 16])[-1])
    lesion[edge - 1 : edge + 3, 38, 16] = True
    found = measure(scan(image, masks={"lesion_mask": lesion}), None, anatomy, SETTINGS)
    assert found["lesion_outside_share"] == pytest.approx(0.5)
    assert found["lesion_outside_ml"] == found["lesion_inside_ml"] == pytest.approx(0.09)
    lesion[edge + 3 : edge + 5, 38, 16] = True
    found = measure(scan(image, masks={"lesion_mask": lesion}), None, anatomy, SETTINGS)
    assert flags(found, SETTINGS.limits) == ["lesions outside the brain 0.18 ml (at most 0.1)"]


@pytest.mark.parametrize("axis", [1, 2])
def test_flipped_brain_is_flagged(image, anatomy, axis):
    flipped = anatomy._replace(brain=np.flip(anatomy.brain, axis).copy())
    found = measure(scan(image), None, flipped, SETTINGS)
    assert any("Dice" in reason for reason in flags(found, SETTINGS.limits))
    assert score(found, SETTINGS.limits) < 1


def test_regions_that_are_all_cortex_are_flagged(image, anatomy):
    limits = {"white_matter_share": (0.2, 0.6)}
    good = measure(scan(image), None, anatomy, SETTINGS)
    assert good["white_matter_share"] == pytest.approx((anatomy.regions == 2).sum() / anatomy.brain.sum())
    assert flags(good, limits) == []
    cortex = np.where(anatomy.regions == 2, 3, anatomy.regions).astype(np.int32)
    bad = measure(scan(image), None, anatomy._replace(regions=cortex), SETTINGS)
    assert flags(bad, limits) == ["share of white matter in the brain 0 (at least 0.2)"]


def test_cut_field_of_view_is_flagged(image, anatomy):
    whole = scan(image)
    low = axis_aligned_grid((100, 110, 20), (2.5, 2.5, 5.0), (0.0, -18.0, -20.0))
    found = measure(whole._replace(raw_grids={"flair": low}), None, anatomy, SETTINGS)
    assert found["coverage"] < 0.7
    assert "share of the brain in the field of view" in flags(found, SETTINGS.limits)[0]


def test_noisy_scan_is_flagged(image, anatomy):
    found = measure(scan(image, noise_sd=120.0), None, anatomy, SETTINGS)
    assert any(reason.startswith("SNR") for reason in flags(found, SETTINGS.limits))


def test_score_is_below_one_where_a_scan_is_flagged():
    good = dict.fromkeys(MEASURES, np.nan) | {"coverage": 1.0, "brain_ml": 1200.0, "residual_shift_mm": 0.5}
    assert flags(good, SETTINGS.limits) == []
    assert score(good, SETTINGS.limits) == pytest.approx(1200 / 800)
    # Of what the field of view may lack, a fifth is lacking.
    assert score(good | {"brain_ml": np.nan, "coverage": 0.99}, {"coverage": (0.95, None)}) == pytest.approx(5)
    bad = good | {"residual_shift_mm": 2.5, "brain_ml": 3000.0}
    assert flags(bad, SETTINGS.limits) == [
        "brain volume 3000 ml (at most 2100)",
        "misaligned with the session before by 2.5 mm (at most 1)",
    ]
    assert score(bad, SETTINGS.limits) == pytest.approx(0.4)
    assert score(bad, {}) == 10


def test_score_and_flags_agree_whatever_is_measured():
    rng = np.random.default_rng(4)
    limits = SETTINGS.limits | {"template_nmi": (1.02, None), "clipped": (None, 0.0), "gain": (0.0, 3.0)}
    seen = set()
    for _ in range(2000):
        measured = {
            "coverage": min(1, rng.normal(0.97, 0.02)), "brain_ml": rng.normal(1500, 600), "gain": rng.uniform(0, 4),
            "template_dice": rng.uniform(0.8, 1), "residual_shift_mm": rng.exponential(0.3), "snr": rng.uniform(5, 60),
            "lesion_outside_ml": rng.exponential(0.02), "template_nmi": rng.uniform(1, 1.2),
            "clipped": rng.choice([0.0, 0.1], p=[0.9, 0.1]),
        }  # fmt: skip
        measured["brain_ml"] = max(measured["brain_ml"], 1.0)
        measures = dict.fromkeys(MEASURES, np.nan) | measured
        flagged = bool(flags(measures, limits))
        assert (score(measures, limits) < 1) == flagged
        seen.add(flagged)
    assert seen == {True, False}


def test_unknown_measure_has_no_limit():
    with pytest.raises(BadSettings, match="got sharpness"):
        check(QualitySettings, json.loads(SETTINGS.model_dump_json()) | {"limits": {"sharpness": [1.0, None]}})


def test_words_carry_units():
    assert in_words("residual_shift_mm", 0.51234) == "misaligned with the session before by 0.512 mm"
    assert in_words("snr", 33.14) == "SNR 33.1"


@pytest.mark.skipif(SHARED is None, reason="MSDIFF_SHARED does not point at the real scans")
@pytest.mark.parametrize(("patient", "agrees"), [("patient12", True), ("patient03", False)])
def test_two_scanners_of_a_real_patient_do_not_agree(patient, agrees):
    """Brought together by the published transforms, patient 03's FLAIRs correlate less than the limit of the config."""
    root = Path(str(SHARED)) / "data/open_ms_data/longitudinal"
    inside = load_mask(root / "coregistered" / patient / "brainmask.nii.gz")
    first, second = (
        resample(
            load_image(root / "raw" / patient / f"{study}_FLAIR.nii.gz"),
            inside.grid,
            load_itk_affine(root / "raw" / patient / f"{study}_FLAIR_to_common_space.txt"),
        ).data[inside.data]
        for study in ("study1", "study2")
    )
    assert (correlation(first, second) > 0.85) == agrees
