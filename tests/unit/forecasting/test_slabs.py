import json

import numpy as np
import pandas as pd
import pytest

from msdiff.__main__ import main
from msdiff.errors import BadInput, BadSettings
from msdiff.forecasting.slabs import (
    BlurSettings,
    SlabSettings,
    blurred,
    channel_names,
    choose_patients,
    load_slabs,
    scaled,
    slab_slices,
)
from msdiff.images import axis_aligned_grid
from msdiff.settings import check
from msdiff.stack.reading import load_stack

GRID = axis_aligned_grid((7, 6, 10), (1.0, 1.0, 3.0), (0.0, -18.0, 8.0))
READOUT = {
    "opening_voxels": [1, 5, 5],
    "connectivity": 26,
    "min_lesion_volume_mm3": 0.0,
    "region_overlap_voxels": 3,
    "region_rule": "overlap",
}
SLABS = {
    "sessions": ["w000", "w048", "w096"],
    "images": ["flair", "lesion_mask", "enhancing_mask"],
    "slices": 4,
    "centre_mm": None,
    "label_blur": {"sigma_voxels": 1.0, "width_voxels": 5},
    "clip_deviations": 4.0,
}
ARMS = ["placebo", "high_efficacy"]


def settings(**changes):
    return check(SlabSettings, SLABS | changes)


def scan(row, subject, session, **changes):
    """A row of scans.tsv."""
    known = {"row": row, "subject": subject, "session": session, "days": 0, "arm": "placebo"}
    masks = {"has_lesion_mask": 1, "has_change_mask": int(session != "ses-w000"), "has_enhancing_mask": 1}
    return known | {"contrasts": "flair"} | masks | changes


@pytest.fixture
def stack(tmp_path):
    """Two patients of three sessions, and one of two; sub-02 has a new lesion at w048 and three at w096."""
    folder = tmp_path / "stack"
    folder.mkdir()
    rng = np.random.default_rng(0)
    patients = [
        ("sub-01", "high_efficacy", 3),
        ("sub-02", "placebo", 3),
        ("sub-03", "placebo", 2),
    ]
    names = [
        (subject, session, arm)
        for subject, arm, sessions in patients
        for session in ["ses-w000", "ses-w048", "ses-w096"][:sessions]
    ]
    rows = [scan(row, subject, session, arm=arm) for row, (subject, session, arm) in enumerate(names)]
    shape = (len(rows), *GRID.shape[::-1])
    brain = np.zeros(shape, dtype=np.uint8)
    brain[:, 1:9, 1:5, 1:6] = 1
    arrays = {name: np.zeros(shape, dtype=np.uint8) for name in ("lesion_mask", "change_mask", "enhancing_mask")}
    arrays["regions"] = brain * np.uint8(2)
    arrays["regions"][:, :, 3:] = 42 * brain[:, :, 3:]
    arrays["change_mask"][4, 4, 2, 1:4] = 1
    arrays["change_mask"][5, 4, 4, 1:5] = 1
    arrays["change_mask"][5, 6, 1, 2] = 1
    arrays["change_mask"][5, 8, 1, 2] = 1
    flair = np.where(brain, rng.uniform(-0.9, 0.4, shape), -1).astype(np.float16)
    for name, array in (arrays | {"brain_mask": brain, "flair": flair}).items():
        np.save(folder / f"{name}.npy", array)
    pd.DataFrame(rows).to_csv(folder / "scans.tsv", sep="\t", index=False)
    (folder / "grid.json").write_text(json.dumps({"shape": GRID.shape, "affine": GRID.affine.tolist()}))
    return load_stack(folder)


def cut_slabs(stack, out, **changes):
    values = {"slabs": SLABS | changes, "arms": ARMS, "readout": READOUT}
    return main(["cut-slabs", "--stack", str(stack.folder), "--out", str(out), "--settings", json.dumps(values)])


def test_slabs_hold_the_middle_of_all_sessions(stack, tmp_path):
    assert cut_slabs(stack, tmp_path / "slabs") == 0
    slabs = load_slabs(tmp_path / "slabs")
    assert slabs.sessions == ["w000", "w048", "w096"]
    assert slabs.arms == ARMS
    assert slabs.grid.shape == (7, 6, 4)
    # Slice k of ten lies at 8 + 3 (k - 4.5) mm; the middle four begin at the fourth.
    np.testing.assert_allclose(slabs.grid.affine[:3, 3], [-3.0, -20.5, 3.5])
    channels = slabs.array("channels")
    assert channels.dtype == np.float16
    assert channels.shape == (2, 11, 4, 6, 7)
    assert channels.min() >= -1
    assert channels.max() <= 1
    np.testing.assert_array_equal(slabs.array("net2")[1], stack.array("change_mask")[5, 3:7])
    np.testing.assert_array_equal(slabs.array("net2_before")[1], stack.array("change_mask")[4, 3:7])
    np.testing.assert_array_equal(slabs.array("brain_mask")[0], stack.array("brain_mask")[0, 3:7])
    np.testing.assert_array_equal(slabs.array("regions")[0], stack.array("regions")[0, 3:7])


def test_patients_are_counted_in_the_slab(stack, tmp_path):
    assert cut_slabs(stack, tmp_path / "slabs") == 0
    patients = load_slabs(tmp_path / "slabs").patients
    assert patients["subject"].tolist() == ["sub-01", "sub-02"]
    assert patients["arm"].tolist() == ["high_efficacy", "placebo"]
    assert "split" not in patients
    # Of the three lesions at w096 one lies above the slab, and one of two has three voxels in a region: the cortex.
    assert patients["count_before"].tolist() == [0, 1]
    assert patients["count"].tolist() == [0, 2]
    assert patients["cerebral_white_matter"].tolist() == [0, 0]
    assert patients["cerebral_cortex"].tolist() == [0, 1]


def test_channels_are_found_by_name(stack, tmp_path):
    assert cut_slabs(stack, tmp_path / "slabs") == 0
    slabs = load_slabs(tmp_path / "slabs")
    assert slabs.channels == channel_names(settings())
    net2 = slabs.array("channels")[1, slabs.places("net2@w096")[0]]
    lesion = slabs.array("net2")[1].astype(bool)
    np.testing.assert_allclose(net2, blurred(lesion, settings().label_blur), atol=1e-3)
    with pytest.raises(BadInput, match="no channel 't1w@w000'"):
        slabs.places("t1w@w000")
    with pytest.raises(BadInput, match="the folder holds brain_mask, channels"):
        slabs.array("flair")


def test_slabs_are_told_apart_by_what_they_hold(stack, tmp_path):
    unblurred = {"label_blur": {"sigma_voxels": 0.0, "width_voxels": 5}}
    for name, changes in (("one", {}), ("again", {}), ("other", unblurred)):
        assert cut_slabs(stack, tmp_path / name, **changes) == 0
    one, again, other = (load_slabs(tmp_path / name) for name in ("one", "again", "other"))
    assert one.sha256("channels") == again.sha256("channels") != other.sha256("channels")
    assert one.sha256("net2") == other.sha256("net2")


@pytest.mark.parametrize(
    ("slices", "centre_mm", "first"),
    [
        (4, None, 3),
        (5, None, 2),
        (10, None, 0),
        (1, None, 4),
        (4, 8.0, 3),
        (1, 9.5, 5),
        (3, 12.5, 5),
        (3, 13.8, 5),
        (3, 14.1, 6),
    ],
)
def test_the_slab_lies_where_it_is_asked_for(slices, centre_mm, first):
    # Slice k lies at 8 + 3 (k - 4.5) mm.
    assert slab_slices(GRID, settings(slices=slices, centre_mm=centre_mm)) == slice(first, first + slices)


@pytest.mark.parametrize(("slices", "centre_mm"), [(11, None), (4, 30.0), (4, -30.0)])
def test_a_slab_beyond_the_grid_is_refused(slices, centre_mm):
    with pytest.raises(BadSettings, match="inside the common grid"):
        slab_slices(GRID, settings(slices=slices, centre_mm=centre_mm))


def test_blur_is_a_truncated_gaussian_of_unit_sum():
    rng = np.random.default_rng(0)
    mask = rng.random((5, 9, 8)) < 0.1
    taps = np.exp(-(np.arange(-2, 3) ** 2) / (2 * 1.3**2))
    taps /= taps.sum()
    kernel = taps[:, None, None] * taps[:, None] * taps
    padded = np.pad(mask.astype(float), 2)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5, 5))
    expected = (windows * kernel).sum(axis=(3, 4, 5)) * 2 - 1
    np.testing.assert_allclose(blurred(mask, BlurSettings(sigma_voxels=1.3, width_voxels=5)), expected, atol=1e-6)


def test_without_blur_a_mask_is_one_and_minus_one():
    mask = np.eye(3, dtype=bool)[None]
    np.testing.assert_array_equal(blurred(mask, BlurSettings(sigma_voxels=0.0, width_voxels=5)), mask * 2.0 - 1)


def test_the_first_session_sets_the_scale_of_all():
    brain = np.ones((1, 1, 4), dtype=bool)
    brain[0, 0, 3] = False
    first = np.array([[[0.0, 1.0, 2.0, 9.0]]], dtype=np.float32)
    later = np.array([[[0.5, 3.0, -1.0, 9.0]]], dtype=np.float32)
    one, two = scaled([first, later], brain, 4.0, "x")
    np.testing.assert_allclose(one[0, 0], [-1, 0, 1, -1])
    np.testing.assert_allclose(two[0, 0], [-0.5, 1, -1, -1])


def test_outliers_are_clipped_at_deviations_of_the_first_session():
    values = np.concatenate([np.tile([-1.0, 1.0], 500), [100.0]]).astype(np.float32)
    brain = np.ones((1, 1, len(values)), dtype=bool)
    mean, deviation = values.mean(), values.std()
    (image,) = scaled([values[None, None]], brain, 4.0, "x")
    assert image[0, 0, -1] == 1
    assert image[0, 0, 1] == pytest.approx((1 - -1) / (mean + 4 * deviation - -1) * 2 - 1, abs=1e-6)


def test_one_value_is_refused():
    with pytest.raises(BadInput, match="sub-01: flair: expected intensities that differ"):
        scaled([np.ones((1, 2, 2), dtype=np.float32)], np.ones((1, 2, 2), dtype=bool), 4.0, "sub-01: flair")


@pytest.mark.parametrize(
    ("row", "changes", "lack"),
    [
        ([1], {"has_lesion_mask": 0}, "no lesion_mask at ses-w048"),
        ([0], {"has_enhancing_mask": 0}, "no enhancing_mask at ses-w000"),
        ([2], {"contrasts": "t1w"}, "no flair at ses-w096"),
        ([2], {"has_change_mask": 0}, "no change mask at ses-w096"),
        ([1], {"session": "ses-w024"}, "no session ses-w048"),
        ([0, 1, 2], {"arm": ""}, "no arm"),
    ],
)
def test_who_lacks_something_is_left_out_and_named(stack, caplog, row, changes, lack):
    caplog.set_level("INFO")
    scans = stack.scans.copy()
    for column, value in changes.items():
        scans.loc[row, column] = value
    assert [patient.subject for patient in choose_patients(scans, settings(), ARMS)] == ["sub-02"]
    assert f"leave out sub-01: {lack}" in caplog.text


def test_a_mask_that_is_not_asked_for_may_be_missing(stack):
    scans = stack.scans.assign(has_enhancing_mask=0)
    assert len(choose_patients(scans, settings(images=["flair", "lesion_mask"]), ARMS)) == 2


def test_lesions_of_sessions_between_count():
    sessions = ["ses-w000", "ses-w024", "ses-w048", "ses-w072", "ses-w096", "ses-w120"]
    scans = pd.DataFrame([scan(10 + row, "sub-01", session) for row, session in enumerate(sessions)])
    (patient,) = choose_patients(scans, settings(), ARMS)
    assert patient.rows == (10, 12, 14)
    assert patient.before == (11, 12)
    assert patient.future == (13, 14)


def test_nobody_and_unknown_arms_are_refused(stack, tmp_path, capsys):
    assert cut_slabs(stack, tmp_path / "slabs", sessions=["w000", "w048", "w144"]) == 2
    assert "got none (sub-01: no session ses-w144)" in capsys.readouterr().err
    assert not (tmp_path / "slabs").exists()
    with pytest.raises(BadInput, match=r"forecasting\.arms \(placebo\), got 'high_efficacy'"):
        choose_patients(stack.scans, settings(), ["placebo"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sessions": ["w048", "w000", "w096"]}, "names that sort by time"),
        ({"sessions": ["w000", "w000", "w096"]}, "expected each once"),
        ({"label_blur": {"sigma_voxels": 1.0, "width_voxels": 4}}, "odd number"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes, message):
    with pytest.raises(BadSettings, match=message):
        settings(**changes)


def test_what_is_no_folder_of_slabs_is_refused(tmp_path):
    with pytest.raises(BadInput, match="expected a folder of slabs"):
        load_slabs(tmp_path)
