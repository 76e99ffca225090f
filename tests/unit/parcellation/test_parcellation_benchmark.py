"""The painter and the scores by which parcellation backends are judged."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest

from msdiff.images import Volume, axis_aligned_grid
from msdiff.parcellation.regions import LABELS
from msdiff.spaces import transform_points

PATH = Path(__file__).parents[3] / "benchmarks/parcellation.py"


@pytest.fixture(scope="module")
def judge():
    spec = spec_from_file_location("judge", PATH)
    module = module_from_spec(spec)
    sys.modules["judge"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["judge"]


@pytest.fixture
def codes():
    """A ball of white matter with ventricles in it, in a shell of cortex, in fluid, in bone; 1 mm."""
    distance = np.linalg.norm(np.indices((80, 80, 80)) - 39.5, axis=0)
    labels = np.zeros((80, 80, 80), dtype=np.int32)
    for radius, code in ((39, 515), (37, 24), (28, 3), (25, 2), (8, 4)):
        labels[distance < radius] = code
    labels[40:][labels[40:] == 2] = 41
    return labels


@pytest.mark.parametrize(
    ("contrast", "from_dark_to_bright"),
    [
        ("t1w", ["air", "fluid", "grey", "lesion", "white", "fat"]),
        ("flair", ["air", "white", "grey", "lesion"]),
        ("t2w", ["air", "white", "grey", "lesion", "fluid"]),
    ],
)
def test_contrasts_are_those_of_textbooks(judge, contrast, from_dark_to_bright):
    signal = judge.signals(contrast)
    values = [signal[tissue] for tissue in from_dark_to_bright]
    assert values == sorted(set(values))
    assert contrast != "flair" or signal["fluid"] < 1e-6


def test_painted_voxels_have_their_tissue_and_edges_are_soft(judge, codes):
    severity = np.zeros(codes.shape, dtype=np.float32)
    severity[20:27, 37:44, 37:44] = 1
    painted = judge.paint(codes, severity, "flair", 1.0)
    signal = judge.signals("flair")
    assert painted[52, 40, 40] == pytest.approx(signal["white"], rel=1e-3)
    assert painted[23, 40, 40] == pytest.approx(signal["lesion"], rel=1e-3)
    assert painted[40, 40, 40] == pytest.approx(0, abs=1e-3)
    assert 0.03 < painted[32, 40, 40] / signal["white"] < 0.5 < painted[31, 40, 40] / signal["white"] < 0.97


def test_an_unknown_label_is_refused(judge, codes):
    codes[0, 0, 0] = 1035
    with pytest.raises(SystemExit, match=r"got \[1035\]"):
        judge.paint(codes, np.zeros(codes.shape, dtype=np.float32), "t1w", 1.0)


def test_lesions_lie_in_white_matter_mostly_near_the_ventricles(judge, codes):
    severity = judge.simulate_lesions(codes, np.random.default_rng(3))
    again = judge.simulate_lesions(codes, np.random.default_rng(3))
    np.testing.assert_array_equal(severity, again)
    lesions = severity > 0
    assert np.isin(codes[lesions], (2, 41)).all()
    low, high = judge.LESION_SEVERITY
    assert low <= severity[lesions].min() <= severity.max() <= high
    largest_ml = judge.LESIONS * np.pi / 6 * judge.LESION_DIAMETERS_MM[1] ** 3
    assert 50 < lesions.sum() < largest_ml
    from_centre = np.linalg.norm(np.argwhere(lesions) - 39.5, axis=1)
    assert np.median(from_centre) < 8 + 2 * judge.PERIVENTRICULAR_MM
    assert from_centre.max() > 8 + judge.PERIVENTRICULAR_MM


def test_a_pose_turns_about_the_middle_of_the_head(judge):
    centre = np.array([10.0, -20.0, 30.0])
    pose = judge.choose_pose(centre, np.random.default_rng(1))
    np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-12)
    assert np.abs(transform_points(pose, centre) - centre).max() <= judge.TRANSLATION_MM


def test_thick_slices_average_and_poses_are_obeyed(judge, monkeypatch):
    monkeypatch.setattr(judge, "NOISE", 0.0)
    monkeypatch.setattr(judge, "BIAS", 0.0)
    fine = axis_aligned_grid((12, 12, 30), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    head = Volume(np.random.default_rng(0).random(fine.shape, dtype=np.float32), fine.affine)
    thick = axis_aligned_grid((12, 12, 10), (1.0, 1.0, 3.0), (0.0, 0.0, 0.0))
    seen = judge.acquire(head, np.eye(4), thick, 0.5, np.random.default_rng(0)).data
    mean = head.data.reshape(12, 12, 10, 3).mean(axis=-1)
    np.testing.assert_allclose(seen[1:-1, 1:-1, 1:-1], 2000 * mean[1:-1, 1:-1, 1:-1], rtol=1e-4)
    pose = np.eye(4)
    pose[0, 3] = 2.0
    moved = judge.acquire(head, pose, fine, 1.0, np.random.default_rng(0)).data
    np.testing.assert_allclose(moved[3:-1, 1:-1, 1:-1], 1000 * head.data[1:-3, 1:-1, 1:-1], rtol=1e-4)


def test_truth_ends_at_a_rim_of_fluid(judge, codes):
    codes[45:48, 40, 40], codes[30:33, 40, 40] = 136, 25
    truth = judge.true_labels(codes, 1.0)
    assert (truth[45:48, 40, 40] == 4).all()
    assert (truth[30:33, 40, 40] == 2).all()
    assert truth[40, 40, 69] == 24
    assert truth[40, 40, 73] == 0
    assert set(np.unique(truth)) <= set(LABELS)


def test_scores_pool_sides_and_know_tissue_backends(judge):
    true = np.repeat(np.array([2, 41, 3, 42, 10, 16], dtype=np.int32), 10).reshape(6, 10, 1)
    lesions = np.zeros(true.shape, dtype=bool)
    lesions[0, :4] = True
    scores = {(measure, name): value for measure, name, value in judge.score(true, true, lesions)}
    present = {LABELS[code] for code in np.unique(true)} | {"cerebral white matter", "cerebral cortex", "lesions"}
    assert {name for (_, name), value in scores.items() if value == 1} == present
    # Sides exchanged, nuclei and brainstem called by their tissue, half of the lesion called cortex.
    swapped = np.array([0] * 60)[true]
    for code, found in {2: 41, 41: 2, 3: 42, 42: 3, 10: 3, 16: 2}.items():
        swapped[true == code] = found
    swapped[0, :2] = 3
    scores = {(measure, name): value for measure, name, value in judge.score(swapped, true, lesions)}
    assert scores["dice", "Left-Cerebral-White-Matter"] == 0
    assert scores["dice", "cerebral white matter"] == pytest.approx(2 * 18 / (28 + 20))
    assert scores["dice_cerebrum", "cerebral white matter"] == pytest.approx(2 * 18 / (18 + 20))
    assert scores["lesions_white", "lesions"] == 0.5
