import json

import numpy as np
import pandas as pd
import pytest

from msdiff.__main__ import main
from msdiff.images import Volume, axis_aligned_grid, save
from msdiff.patients import image_path
from msdiff.stack.reading import load_stack

GRID = axis_aligned_grid((9, 8, 6), (1.0, 1.0, 3.0), (0.0, -18.0, 8.0))


def patient(root, subject, generator, *, change=True, t1w=True, batch="000"):
    """Two sessions: lesions at both, the second with a new one of 3 voxels and one voxel of noise."""
    brain = np.zeros(GRID.shape, dtype=bool)
    brain[1:8, 1:7, 1:5] = True
    save(Volume(brain, GRID.affine), root / "stripped" / subject / "brain_mask.nii.gz")
    save(Volume(brain * np.int32(41), GRID.affine), root / batch / subject / "regions.nii.gz")
    old = np.zeros(GRID.shape, dtype=bool)
    old[2, 2, 2] = True
    for session in ("ses-w000", "ses-w048"):
        for contrast in ("flair", "t1w") if t1w else ("flair",):
            data = np.where(brain, generator.uniform(-1, 1, GRID.shape), -1).astype(np.float32)
            save(Volume(data, GRID.affine), image_path(root / "normalised" / subject, session, contrast))
        lesions = old.copy()
        if session == "ses-w048" and change:
            lesions[5, 3:6, 3] = lesions[2, 5, 4] = True
        save(Volume(lesions, GRID.affine), image_path(root / "registered" / subject, session, "lesion_mask"))


def lists(root, subjects):
    scans = [
        (subject, session, days, "placebo")
        for subject in subjects
        for session, days in [("ses-w000", 0), ("ses-w048", 336)]
    ]
    columns = ["subject", "session", "days", "arm"]
    pd.DataFrame(scans, columns=columns).to_csv(root / "scans.tsv", sep="\t", index=False)


def stack(root):
    arguments = ["stack-scans", "--contrasts", "flair", "t1w", "--settings", json.dumps({"min_change_volume_mm3": 6.0})]
    arguments += ["--scans", str(root / "scans.tsv")]
    for name in ("registered", "stripped", "normalised"):
        arguments += [f"--{name}", *map(str, sorted(root.glob(f"**/{name}")))]
    arguments += ["--parcellation", str(root / "000"), str(root / "001")]
    return main([*arguments, "--out", str(root / "stack")])


@pytest.fixture
def cohort(tmp_path):
    generator = np.random.default_rng(0)
    patient(tmp_path, "sub-01", generator)
    patient(tmp_path, "sub-02", generator, t1w=False, batch="001")
    lists(tmp_path, ["sub-01", "sub-02"])
    return tmp_path


def test_stack_holds_all_scans(cohort):
    assert stack(cohort) == 0
    opened = load_stack(cohort / "stack")
    assert opened.grid.shape == GRID.shape
    np.testing.assert_allclose(opened.grid.affine, GRID.affine)
    assert opened.scans["row"].tolist() == [0, 1, 2, 3]
    assert opened.scans["contrasts"].tolist() == ["flair t1w", "flair t1w", "flair", "flair"]
    flair = opened.array("flair")
    assert flair.dtype == np.float16
    assert flair.shape == (4, 6, 8, 9)
    from msdiff.images import load_image

    for row, (subject, session) in enumerate(zip(opened.scans["subject"], opened.scans["session"], strict=True)):
        image = load_image(image_path(cohort / "normalised" / subject, session, "flair"))
        np.testing.assert_allclose(flair[row].T, image.data, atol=1e-3)
    assert (opened.array("t1w")[2:] == -1).all()
    assert [opened.array("regions")[row].max() for row in (0, 2)] == [41, 41]
    assert opened.array("brain_mask").sum() == 4 * 7 * 6 * 4


def test_patients_may_lie_in_batches(cohort):
    assert stack(cohort) == 0
    one = load_stack(cohort / "stack")
    digest = one.sha256("flair", "lesion_mask")
    for step in ("registered", "stripped", "normalised"):
        (cohort / f"aligned/001/{step}").mkdir(parents=True)
        (cohort / step / "sub-02").rename(cohort / f"aligned/001/{step}/sub-02")
    assert stack(cohort) == 0
    assert load_stack(cohort / "stack").sha256("flair", "lesion_mask") == digest


def test_enhancing_lesions_are_kept_where_they_are_known(cohort):
    enhancing = np.zeros(GRID.shape, dtype=bool)
    enhancing[4, 4, 2] = enhancing[0, 0, 0] = True
    save(Volume(enhancing, GRID.affine), image_path(cohort / "registered" / "sub-01", "ses-w000", "enhancing_mask"))
    assert stack(cohort) == 0
    opened = load_stack(cohort / "stack")
    assert opened.scans["has_enhancing_mask"].tolist() == [1, 0, 0, 0]
    assert opened.array("enhancing_mask")[0, 2, 4, 4] == 1
    assert opened.array("enhancing_mask").sum() == 1


def test_change_is_what_is_new_and_large_enough(cohort):
    assert stack(cohort) == 0
    opened = load_stack(cohort / "stack")
    change = opened.array("change_mask")
    assert opened.scans["has_change_mask"].tolist() == [0, 1, 0, 1]
    assert [int(change[row].sum()) for row in range(4)] == [0, 3, 0, 3]
    assert (change[1, 3, 3:6, 5] == 1).all()


def test_drawn_change_is_preferred_and_kept_inside_the_brain(cohort):
    drawn = np.zeros(GRID.shape, dtype=bool)
    drawn[4, 4, 2] = drawn[0, 0, 0] = True
    save(Volume(drawn, GRID.affine), image_path(cohort / "registered" / "sub-01", "ses-w048", "change_mask"))
    assert stack(cohort) == 0
    assert load_stack(cohort / "stack").array("change_mask")[1].sum() == 1


def test_a_patient_with_one_session_is_stacked(cohort):
    scans = pd.read_csv(cohort / "scans.tsv", sep="\t")
    scans[:3].to_csv(cohort / "scans.tsv", sep="\t", index=False)
    assert stack(cohort) == 0
    opened = load_stack(cohort / "stack")
    assert opened.scans["subject"].tolist() == ["sub-01", "sub-01", "sub-02"]
    assert opened.array("flair").shape == (3, 6, 8, 9)
    assert opened.array("lesion_mask")[2].sum() == 1
    assert opened.scans["has_change_mask"].tolist() == [0, 1, 0]


def test_a_cohort_of_single_scans_is_stacked(cohort):
    scans = pd.read_csv(cohort / "scans.tsv", sep="\t")
    scans[::2].to_csv(cohort / "scans.tsv", sep="\t", index=False)
    assert stack(cohort) == 0
    opened = load_stack(cohort / "stack")
    assert opened.scans["subject"].tolist() == ["sub-01", "sub-02"]
    assert opened.array("lesion_mask").any(axis=(1, 2, 3)).all()
    assert not opened.array("change_mask").any()
    assert opened.scans["has_change_mask"].tolist() == [0, 0]
    assert "split" not in opened.scans


def test_change_counts_from_the_session_before_whatever_the_order_of_the_list(cohort):
    assert stack(cohort) == 0
    first = {path.name: path.read_bytes() for path in (cohort / "stack").iterdir()}
    pd.read_csv(cohort / "scans.tsv", sep="\t")[::-1].to_csv(cohort / "scans.tsv", sep="\t", index=False)
    assert stack(cohort) == 0
    assert {path.name: path.read_bytes() for path in (cohort / "stack").iterdir()} == first


def test_mask_on_another_grid_is_refused(cohort, capsys):
    elsewhere = np.zeros((9, 8, 5), dtype=bool)
    save(Volume(elsewhere, GRID.affine), image_path(cohort / "registered" / "sub-01", "ses-w048", "change_mask"))
    assert stack(cohort) == 2
    assert "ses-w048_change_mask.nii.gz: expected the grid of its image" in capsys.readouterr().err


def test_missing_regions_are_named(cohort, capsys):
    (cohort / "001/sub-02/regions.nii.gz").unlink()
    assert stack(cohort) == 2
    assert "sub-02/regions.nii.gz: no such file" in capsys.readouterr().err


def test_list_without_its_columns_is_refused(cohort, capsys):
    (cohort / "scans.tsv").write_text("subject\nsub-01\n")
    assert stack(cohort) == 2
    assert "scans.tsv: missing columns session, days, arm" in capsys.readouterr().err
