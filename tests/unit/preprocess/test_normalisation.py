import numpy as np
import pytest

from msdiff.errors import BadInput
from msdiff.preprocess.normalisation import normalise
from msdiff.settings import Choice

SHAPE = (8, 8, 8)
PERCENTILE = {"gain": "none", "low_percentile": 0.0, "high_percentile": 100.0, "low_value": -1.0, "high_value": 0.5}


@pytest.fixture
def brain():
    mask = np.zeros(SHAPE, dtype=bool)
    mask[2:6, 2:6, 2:6] = True
    return mask


@pytest.fixture
def baseline():
    return np.random.default_rng(0).uniform(100, 200, SHAPE).astype(np.float32)


def choice(**changes):
    return Choice(backend="percentile", options=PERCENTILE | changes)


def test_percentiles_of_the_baselines_brain_are_brought_to_values(baseline, brain):
    baseline[0, 0, 0] = 9999
    images, line = normalise({"ses-0": baseline}, brain, "flair", choice())
    assert images["ses-0"][brain].min() == pytest.approx(-1)
    assert images["ses-0"][brain].max() == pytest.approx(0.5)
    assert (images["ses-0"][~brain] == -1).all()
    assert line.baseline_session == "ses-0"
    assert line.clipped_fractions["ses-0"] == 0


def test_one_line_serves_all_sessions(baseline, brain):
    follow_up = baseline.copy()
    follow_up[3, 3, 3] = 230
    images, line = normalise({"ses-0": baseline, "ses-1": follow_up}, brain, "flair", choice())
    assert (images["ses-0"] != images["ses-1"]).sum() == 1
    assert images["ses-1"][3, 3, 3] == pytest.approx(line.slope * 230 + line.intercept)


def test_headroom_ends_at_one(baseline, brain):
    follow_up = baseline.copy()
    follow_up[3, 3, 3] = 1000
    images, line = normalise({"ses-0": baseline, "ses-1": follow_up}, brain, "flair", choice())
    assert images["ses-1"].max() == 1
    assert line.clipped_fractions["ses-1"] == pytest.approx(1 / 64)


def test_gain_is_removed_by_the_median_only(baseline, brain):
    images, line = normalise({"ses-0": baseline, "ses-1": 2 * baseline}, brain, "flair", choice(gain="median"))
    np.testing.assert_allclose(images["ses-1"], images["ses-0"], atol=1e-6)
    assert line.gains == {"ses-0": 1.0, "ses-1": pytest.approx(0.5)}
    kept, _ = normalise({"ses-0": baseline, "ses-1": 2 * baseline}, brain, "flair", choice())
    assert (kept["ses-1"][brain] == 1).mean() > 0.5


@pytest.mark.parametrize(
    ("backend", "options"),
    [
        ("percentile", PERCENTILE),
        ("zscore", {"gain": "median", "deviations": 3.0}),
        ("whitestripe", {"gain": "median", "width": 0.05, "deviations": 20.0, "centre": 0.0}),
    ],
)
def test_flat_brain_is_refused(brain, backend, options):
    flat = np.full(SHAPE, 7, dtype=np.float32)
    with pytest.raises(BadInput, match="ses-0: expected intensities that differ"):
        normalise({"ses-0": flat}, brain, "flair", Choice(backend=backend, options=options))


def test_dark_follow_up_is_refused(baseline, brain):
    with pytest.raises(BadInput, match="ses-1: expected positive intensities"):
        normalise({"ses-0": baseline, "ses-1": baseline * 0}, brain, "flair", choice(gain="median"))
