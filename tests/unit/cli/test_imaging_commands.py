"""The imaging commands one after another, as the rules call them, on a patient of two sessions; what they refuse.

Of several patients to a process: what one is, is what it is alone, and one who fails leaves the others.
"""

import json
import logging
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from msdiff.__main__ import main
from msdiff.images import Volume, axis_aligned_grid, load_image, load_labels, load_mask, save
from msdiff.spaces import load_itk_affine, resample_labels
from msdiff.stack.reading import load_stack
from msdiff.template import template_brain

GRID = {"shape": [48, 56, 24], "spacing_mm": [4.0, 4.0, 8.0], "centre_mm": [0.0, -18.0, 8.0]}
SEARCH = {
    "spacing_mm": 10.0,
    "angles_degrees": [-15.0, 0.0, 15.0],
    "shifts_mm": [0.0],
    "scales": [1.0],
    "scale_range": [0.78, 1.1],
    "candidates": 1,
    "histogram_bins": 24,
    "tolerance_mm": 0.5,
    "judge_spacing_mm": 6.0,
}
REGISTRATION = {"backend": "plain", "options": {"search": SEARCH, "spacings_mm": [8.0], "tolerance_mm": 0.2}}
STRIPPING = {
    "backend": "plain",
    "options": {"min_brain_ml": 500.0, "max_brain_ml": 2500.0, "threshold": 0.4, "opening_mm": 4.0, "margin_mm": 6.0},
}
NORMALISATION = {
    "backend": "percentile",
    "options": {
        "gain": "median",
        "low_percentile": 0.5,
        "high_percentile": 99.5,
        "low_value": -1.0,
        "high_value": 0.4,
    },
}
PARCELLATION = {
    "backend": "plain",
    "options": {"smoothing_mm": 2.0, "rounds": 10},
    "limits": {"min_brain_ml": 500.0, "max_brain_ml": 2500.0},
}
SHARED = os.environ.get("MSDIFF_SHARED")


def ending(out, settings):
    """The arguments that end every command with threads."""
    return ["--out", str(out), "--threads", "1", "--settings", settings]


def register(rows, out, registration=REGISTRATION, contrasts=("flair", "t1w")):
    settings = json.dumps({"grid": GRID, "registration": registration})
    return main(["register", "--patients", json.dumps(rows), "--contrasts", *contrasts, *ending(out, settings)])


def parcellate(folders, out, *brains):
    """Regions of one patient; --stripped is given as `brains` says."""
    images = [f"--{name}={folders[name]}" for name in ("normalised", "corrected")]
    stripped = ["--stripped", *(str(folders[name]) for name in brains)]
    return main(["parcellate", *images, *stripped, *ending(out, json.dumps(PARCELLATION))])


@pytest.fixture(scope="module")
def rows(tmp_path_factory, head, scan_head):
    """A patient: a session with two contrasts and lesion, enhancing and brain masks, then one with a change mask."""
    raw = tmp_path_factory.mktemp("raw")
    poses = {"ses-w000": ((6, -4, 3), (5, -3, 6)), "ses-w048": ((-4, 3, -8), (-6, 4, -3))}
    rows = []
    for session, pose in poses.items():
        scan, matrix = scan_head(head, *pose)
        save(scan, raw / f"{session}_flair.nii.gz")
        lesion = np.zeros(head.data.shape, dtype=bool)
        lesion[34:39, 29:34, 32:37] = True
        mask = resample_labels(Volume(lesion, head.affine), scan.grid, np.linalg.inv(matrix))
        save(mask, raw / f"{session}_mask.nii.gz")
        rows.append({"subject": "sub-01", "session": session, "flair": str(raw / f"{session}_flair.nii.gz"), "t1w": ""})
    darker = Volume((1000 - load_image(rows[0]["flair"]).data).astype(np.float32), load_image(rows[0]["flair"]).affine)
    save(darker, raw / "t1w.nii.gz")
    rows[0] |= {"t1w": str(raw / "t1w.nii.gz"), "lesion_mask": str(raw / "ses-w000_mask.nii.gz")}
    first = load_image(rows[0]["flair"])
    save(Volume(first.data > 100, first.affine), raw / "brain.nii.gz")
    rows[0] |= {"brain_mask": str(raw / "brain.nii.gz"), "enhancing_mask": rows[0]["lesion_mask"]}
    rows[1] |= {"change_mask": str(raw / "ses-w048_mask.nii.gz"), "change_mask_transform": ""}
    return rows


def preprocess(rows, root):
    """Run all steps for a patient; their folders."""
    steps = ("registered", "corrected", "stripped", "normalised")
    folders = {name: str(root / name / "sub-01") for name in steps} | {"parcellation": str(root / "parcellation/000")}
    assert register(rows, root / "registered") == 0
    steps = [
        ["correct-bias", "registered", "corrected", {"backend": "none", "options": {}}],
        ["strip-skull", "corrected", "stripped", STRIPPING, "--registered", folders["registered"]],
    ]
    for command, source, out, settings, *more in steps:
        arguments = [f"--{source}", folders[source], *more, "--out", str(root / out), "--threads", "1"]
        assert main([command, *arguments, "--settings", json.dumps(settings)]) == 0
    both = ["--stripped", folders["stripped"], "--settings"]
    out = ["--corrected", folders["corrected"], "--out", str(root / "normalised")]
    assert main(["normalise", *out, *both, json.dumps(NORMALISATION)]) == 0
    assert parcellate(folders, folders["parcellation"], "stripped") == 0
    return {name: Path(folder) for name, folder in folders.items()}


@pytest.fixture(scope="module")
def chain(rows, tmp_path_factory):
    """The folders of all steps."""
    return preprocess(rows, tmp_path_factory.mktemp("results"))


def test_a_patient_with_one_session_goes_all_the_way_to_the_stack(rows, tmp_path):
    """The stack is opened with a fold and without an index of slices, for there is no pair."""
    (scan,) = rows[:1]
    folders = preprocess([scan], tmp_path)
    sheet = pd.DataFrame([{"days": 0, **scan}])
    sheet.to_csv(tmp_path / "sheet.tsv", sep="\t", index=False)
    lists = {name: str(tmp_path / f"{name}.tsv") for name in ("sheet", "scans", "fold")}
    of_sheet = ["--sheet", lists["sheet"], "--contrasts", "flair", "t1w", "--out"]
    assert main(["check-sheet", *of_sheet, lists["scans"]]) == 0
    split = {"backend": "split", "options": {"train": 1, "validation": 0, "test": 0, "seed": 0}}
    assert main(["assign-fold", *of_sheet, lists["fold"], "--fold", "split", "--settings", json.dumps(split)]) == 0
    parents = [f"--{name}={folders[name].parent}" for name in ("registered", "stripped", "normalised")]
    parents += [f"--parcellation={folders['parcellation']}", f"--scans={lists['scans']}"]
    out = [
        "--contrasts",
        "flair",
        "t1w",
        "--out",
        str(tmp_path / "stack"),
        "--settings",
        '{"min_change_volume_mm3": 0}',
    ]
    assert main(["stack-scans", *parents, *out]) == 0
    stack = load_stack(tmp_path / "stack", fold=lists["fold"])
    assert stack.scans[["subject", "split", "contrasts"]].to_numpy().tolist() == [["sub-01", "train", "flair t1w"]]
    assert stack.array("lesion_mask").any()
    assert not stack.array("change_mask").any()
    assert stack.scans["has_change_mask"].tolist() == [0]


def test_register_writes_images_masks_and_maps(chain):
    assert sorted(path.name for path in chain["registered"].iterdir()) == [
        "ses-w000_brain_mask.nii.gz",
        "ses-w000_enhancing_mask.nii.gz",
        "ses-w000_flair.nii.gz",
        "ses-w000_flair_to_grid.txt",
        "ses-w000_lesion_mask.nii.gz",
        "ses-w000_t1w.nii.gz",
        "ses-w000_t1w_to_grid.txt",
        "ses-w048_change_mask.nii.gz",
        "ses-w048_flair.nii.gz",
        "ses-w048_flair_to_grid.txt",
    ]


def test_pair_overlaps_and_lesion_stays(chain):
    first, second = (load_image(chain["registered"] / f"{s}_flair.nii.gz") for s in ("ses-w000", "ses-w048"))
    assert first.data.shape == tuple(GRID["shape"])
    brain = template_brain(first.grid)
    assert np.corrcoef(first.data[brain], second.data[brain])[0, 1] > 0.95
    assert min(first.data.min(), second.data.min()) >= 0
    masks = [
        load_mask(chain["registered"] / f"{name}.nii.gz", first.grid).data
        for name in ("ses-w000_lesion_mask", "ses-w048_change_mask")
    ]
    centres = [np.argwhere(mask).mean(axis=0) * GRID["spacing_mm"] for mask in masks]
    assert np.linalg.norm(centres[0] - centres[1]) < 5


def test_every_mask_of_a_scan_goes_the_same_way(chain):
    lesion, enhancing = (
        load_mask(chain["registered"] / f"ses-w000_{name}_mask.nii.gz").data for name in ("lesion", "enhancing")
    )
    assert enhancing.any()
    np.testing.assert_array_equal(enhancing, lesion)


def test_maps_rebuild_the_images(chain, rows):
    from msdiff.spaces import resample

    written = load_image(chain["registered"] / "ses-w048_flair.nii.gz")
    matrix = load_itk_affine(chain["registered"] / "ses-w048_flair_to_grid.txt")
    again = resample(load_image(rows[1]["flair"]), written.grid, matrix)
    np.testing.assert_allclose(again.data, written.data, atol=1e-3)


def test_brain_is_whole(chain):
    brain = load_mask(chain["stripped"] / "brain_mask.nii.gz")
    truth = template_brain(brain.grid)
    assert 2 * (brain.data & truth).sum() / (brain.data.sum() + truth.sum()) > 0.9


def test_normalised_images_are_bounded(chain):
    brain = load_mask(chain["stripped"] / "brain_mask.nii.gz").data
    for path in chain["normalised"].glob("*.nii.gz"):
        data = load_image(path).data
        assert data.min() == -1
        assert data.max() <= 1
        assert (data[~brain] == -1).all()
    record = json.loads((chain["normalised"] / "normalisation.json").read_text())
    assert set(record) == {"flair", "t1w"}
    assert set(record["flair"]["gains"]) == {"ses-w000", "ses-w048"}


def test_regions_fill_the_brain(chain):
    brain = load_mask(chain["stripped"] / "brain_mask.nii.gz")
    regions = load_labels(chain["parcellation"] / "sub-01/regions.nii.gz", brain.grid).data
    np.testing.assert_array_equal(regions > 0, brain.data)
    table = [line.split("\t") for line in (chain["parcellation"] / "sub-01/volumes.tsv").read_text().splitlines()]
    assert table[0] == ["region", "label", "volume_mm3"]
    assert table[1][:2] == ["Left-Cerebral-White-Matter", "2"]
    assert sum(float(row[2]) for row in table[1:]) == pytest.approx(brain.data.sum() * 128)


def test_regions_of_other_patients_than_the_brains_are_refused(chain, tmp_path, capsys):
    assert parcellate(chain, tmp_path / "000", "stripped", "corrected") == 2
    assert "expected the same patients, each once, under normalised, corrected, stripped" in capsys.readouterr().err
    assert not (tmp_path / "000").exists()


def check_quality(chain, rows, out, limits):
    settings = {"histogram_bins": 32, "smoothing_mm": 4.0, "limits": limits}
    folders = [f"--{name}={chain[name]}" for name in ("registered", "corrected", "stripped", "normalised")]
    ending = ["--regions", str(chain["parcellation"] / "sub-01"), "--out", str(out), "--settings", json.dumps(settings)]
    return main(["check-quality", "--patients", json.dumps(rows), "--contrasts", "flair", "t1w", *folders, *ending])


def test_quality_is_measured_and_pictured(chain, rows, tmp_path):
    limits = {"template_dice": [0.85, None], "slice_mm": [None, 5.0]}
    assert check_quality(chain, rows, tmp_path, limits) == 0
    names = sorted(path.name for path in (tmp_path / "sub-01").iterdir())
    assert names == ["quality.tsv", "ses-w000.png", "ses-w048.png"]
    table = pd.read_csv(tmp_path / "sub-01/quality.tsv", sep="\t")
    assert table["session"].tolist() == ["ses-w000", "ses-w048"]
    assert table["contrasts"].tolist() == ["flair t1w", "flair"]
    first, second = table.to_dict("records")
    assert np.isnan(first["head_rotation_degrees"])
    assert second["head_rotation_degrees"] == pytest.approx(16.3, abs=2.0)
    assert second["residual_shift_mm"] < 2.0
    assert np.isnan(second["lesion_inside_ml"])
    assert first["lesion_inside_ml"] == pytest.approx(8.0, rel=0.35)
    assert (table["coverage"] > 0.95).all()
    # A thick slice is flagged, and the score says how far it is from the limit.
    assert table["flag"].tolist() == ["slices 5.5 mm (at most 5)"] * 2
    np.testing.assert_allclose(table["score"], 5 / 5.5, rtol=1e-3)


def test_unknown_limit_is_refused(chain, rows, tmp_path, capsys):
    line = refused(capsys, check_quality(chain, rows, tmp_path / "out", {"beauty": [0.5, None]}))
    assert "got beauty" in line
    assert not (tmp_path / "out").exists()


def refused(capsys, code):
    """The one line that a command ends with."""
    assert code == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if ": error: " in line]
    assert len(lines) == 1
    return lines[0]


def changed(rows, tmp_path, name, change, dtype=np.float32):
    """The rows with one file of the first session replaced by a changed copy."""
    volume = load_image(rows[0][name])
    save(Volume(change(np.array(volume.data)).astype(dtype), volume.affine), tmp_path / "changed.nii.gz")
    return [rows[0] | {name: str(tmp_path / "changed.nii.gz")}, rows[1]]


def test_unknown_backend_is_refused(rows, tmp_path, capsys):
    code = register(rows, tmp_path / "out", {"backend": "elastix", "options": {}})
    assert "expected one of greedy, ants, plain" in refused(capsys, code)
    assert not (tmp_path / "out").exists()


def test_unknown_option_is_refused(rows, tmp_path, capsys):
    options = REGISTRATION["options"] | {"spacing_mm": 3}
    code = register(rows, tmp_path / "out", {"backend": "plain", "options": options})
    assert "registration.plain: unknown key 'spacing_mm'" in refused(capsys, code)


def test_nan_is_refused(rows, tmp_path, capsys):
    def spoil(data):
        data[3, 3, 3] = np.nan
        return data

    line = refused(capsys, register(changed(rows, tmp_path, "flair", spoil), tmp_path / "out"))
    assert "sub-01 ses-w000" in line
    assert "expected finite intensities" in line


def test_mask_of_other_values_is_refused(rows, tmp_path, capsys):
    code = register(changed(rows, tmp_path, "lesion_mask", lambda data: data * 3, np.uint8), tmp_path / "out")
    assert "expected a mask of 0 and 1, got values such as [3]" in refused(capsys, code)


def test_mask_on_another_grid_is_refused(rows, tmp_path, capsys):
    code = register(changed(rows, tmp_path, "lesion_mask", lambda data: data[:-2], np.uint8), tmp_path / "out")
    assert "expected the grid of its image" in refused(capsys, code)


def test_a_session_twice_is_refused(rows, tmp_path, capsys):
    code = register([rows[0], rows[0]], tmp_path / "out")
    assert "expected distinct sessions of sub-01" in refused(capsys, code)


def test_an_empty_list_is_refused(tmp_path, capsys):
    assert "got an empty one" in refused(capsys, register([], tmp_path / "out"))


def test_rows_of_other_patients_than_the_folders_are_refused(chain, rows, tmp_path, capsys):
    others = [row | {"subject": "sub-02"} for row in rows]
    line = refused(capsys, check_quality(chain, others, tmp_path / "out", {}))
    assert "--patients: expected the rows of sub-01, got those of sub-02" in line


def test_text_that_is_no_json_is_refused(tmp_path, capsys):
    settings = json.dumps({"grid": GRID, "registration": REGISTRATION})
    code = main(["register", "--patients", "sub-01", "--contrasts", "flair", *ending(tmp_path / "out", settings)])
    assert "expected a JSON list of sheet rows" in refused(capsys, code)


def files(folder):
    """The contents of a folder's files by their names."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def others(chain, tmp_path):
    """Two more patients with the first one's registered scans."""
    for subject in ("sub-00", "sub-02"):
        shutil.copytree(chain["registered"], tmp_path / "registered" / subject)
    return [str(tmp_path / "registered/sub-00"), str(chain["registered"]), str(tmp_path / "registered/sub-02")]


def test_a_patient_among_others_is_to_the_bit_what_it_is_alone(chain, rows, others, tmp_path):
    bias = {"backend": "ants", "options": {"shrink_factor": 4, "iterations": [5], "spline_spacing_mm": 200.0}}
    bias["options"] |= {"tolerance": 1.0e-3, "margin_mm": 4.0}
    for name, patients in (("alone", others[1:2]), ("together", others)):
        last = ending(tmp_path / name, json.dumps(bias))
        assert main(["correct-bias", "--registered", *patients, *last]) == 0
    assert files(tmp_path / "alone/sub-01") == files(tmp_path / "together/sub-01")
    strange = [row | {"subject": "sub-00"} for row in rows[:1]]
    assert register([*strange, *rows], tmp_path / "registrations") == 0
    assert files(tmp_path / "registrations/sub-01") == files(chain["registered"])


def test_a_patient_who_fails_leaves_the_others_for_the_next_attempt(others, tmp_path, capsys, caplog):
    none = json.dumps({"backend": "none", "options": {}})
    command = ["correct-bias", "--registered", *others, *ending(tmp_path / "out", none)]
    image = Path(others[2]) / "ses-w000_flair.nii.gz"
    whole = image.read_bytes()
    image.write_bytes(b"no image")
    line = refused(capsys, main(command))
    assert "1 of 3 patients failed, the others are kept: sub-02: " in line
    assert not (tmp_path / "out").exists()

    image.write_bytes(whole)
    changed = Path(others[0]) / "ses-w000_flair.nii.gz"
    os.utime(changed, ns=(0, 0))
    caplog.set_level(logging.INFO)
    assert main(command) == 0
    kept = [record.getMessage() for record in caplog.records if "kept" in record.getMessage()]
    assert kept == ["sub-01: kept from an earlier attempt"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["sub-00", "sub-01", "sub-02"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "registered"]


def test_absurd_brain_names_the_folder(chain, tmp_path, capsys):
    options = STRIPPING["options"] | {"min_brain_ml": 2400.0}
    last = ending(tmp_path / "out", json.dumps(STRIPPING | {"options": options}))
    folders = ["--registered", str(chain["registered"]), "--corrected", str(chain["corrected"])]
    code = main(["strip-skull", *folders, *last])
    line = refused(capsys, code)
    assert str(chain["corrected"]) in line
    assert "expected a brain of 2400 to 2500 ml" in line
    assert not (tmp_path / "out").exists()


def test_sheets_brain_lies_on_its_image(chain, rows):
    """The mask of the sheet is carried as the FLAIR is, without rings, and is no contrast to the steps that follow."""
    written = load_mask(chain["registered"] / "ses-w000_brain_mask.nii.gz")
    matrix = load_itk_affine(chain["registered"] / "ses-w000_flair_to_grid.txt")
    again = resample_labels(load_mask(rows[0]["brain_mask"]), written.grid, matrix)
    assert written.data.any()
    assert (written.data == again.data).mean() > 0.9999
    assert not list(chain["corrected"].glob("*brain*"))


def test_given_brain_that_is_not_there_is_told(chain, tmp_path, capsys):
    given = {"backend": "given", "options": {"min_brain_ml": 500.0, "max_brain_ml": 9000.0}}
    folders = ["--registered", str(chain["registered"]), "--corrected", str(chain["corrected"])]
    code = main(["strip-skull", *folders, *ending(tmp_path / "out", json.dumps(given))])
    assert f"{chain['corrected']}: ses-w048: expected a brain mask" in refused(capsys, code)


def test_brain_of_another_grid_is_refused(chain, tmp_path, capsys):
    grid = axis_aligned_grid((8, 8, 8), (4.0, 4.0, 8.0), (0.0, 0.0, 0.0))
    save(Volume(np.ones(grid.shape, dtype=bool), grid.affine), tmp_path / "sub-01/brain_mask.nii.gz")
    stripped = str(tmp_path / "sub-01")
    arguments = ["--corrected", str(chain["corrected"]), "--stripped", stripped, "--out", str(tmp_path / "out")]
    code = main(["normalise", *arguments, "--settings", json.dumps(NORMALISATION)])
    assert "brain_mask.nii.gz: expected the grid of its image" in refused(capsys, code)


@pytest.mark.skipif(SHARED is None, reason="MSDIFF_SHARED does not point at the real scans")
@pytest.mark.parametrize("patient", ["patient01", "patient12"])
def test_real_pair_lies_as_published(patient, tmp_path, apart_mm):
    """The two FLAIR scans of open_ms patients are brought together as the published transforms do, within a mm."""
    raw = Path(SHARED or "") / "data/open_ms_data/longitudinal/raw" / patient
    rows = [
        {"subject": "sub-01", "session": f"ses-{study}", "flair": str(raw / f"{study}_FLAIR.nii.gz")}
        for study in ("study1", "study2")
    ]
    rows[1] |= {
        "change_mask": str(raw / "gt.nii.gz"),
        "change_mask_transform": str(raw / "study2_FLAIR_to_common_space.txt"),
    }
    search = SEARCH | {"shifts_mm": [-25.0, 0.0, 25.0], "scales": [0.87, 1.0], "candidates": 2}
    refinement = {
        "iterations": [40, 10],
        "shrink_factors": [2, 1],
        "smoothing_sigmas_voxels": [1.0, 0.0],
        "sampling_rate": 0.3,
        "histogram_bins": 32,
        "seed": 1,
    }
    options = {"search": search, "refinement": refinement}
    assert register(rows, tmp_path / "out", {"backend": "ants", "options": options}, ["flair"]) == 0
    ours = [load_itk_affine(tmp_path / f"out/sub-01/ses-{study}_flair_to_grid.txt") for study in ("study1", "study2")]
    theirs = [load_itk_affine(raw / f"{study}_FLAIR_to_common_space.txt") for study in ("study1", "study2")]
    assert apart_mm(ours[1], theirs[1] @ np.linalg.inv(theirs[0]) @ ours[0]) < 1.0
    change = load_mask(tmp_path / "out/sub-01/ses-study2_change_mask.nii.gz")
    brain = template_brain(change.grid)
    assert change.data[brain].sum() > 0.95 * change.data.sum() > 0
    first, second = (load_image(tmp_path / f"out/sub-01/ses-{s}_flair.nii.gz").data for s in ("study1", "study2"))
    difference = np.abs(second / np.median(second[brain]) - first / np.median(first[brain]))
    assert difference[change.data].mean() > 2 * difference[brain].mean()
