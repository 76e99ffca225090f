import json

import numpy as np
import pandas as pd
import pytest

from msdiff.__main__ import main
from msdiff.images import axis_aligned_grid
from msdiff.stack.pairs import new_lesions, slice_rows
from msdiff.stack.reading import load_stack

GRID = axis_aligned_grid((9, 8, 6), (1.0, 1.0, 3.0), (0.0, -18.0, 8.0))
PAIRS = ["subject", "arm", "baseline_session", "follow_up_session", "interval_days"]


@pytest.fixture
def folder(tmp_path):
    """A stack of two patients with two sessions: three new voxels in each follow-up."""
    stack = tmp_path / "stack"
    stack.mkdir()
    brain, change = np.zeros((2, 4, 6, 8, 9), dtype=np.uint8)
    brain[:, 1:5, 1:7, 1:8] = 1
    change[1::2, 3, 3:6, 5] = 1
    np.save(stack / "brain_mask.npy", brain)
    np.save(stack / "change_mask.npy", change)
    rows = [(row, f"sub-{1 + row // 2:02d}", ("ses-a", "ses-b")[row % 2], 9 * (row % 2), "placebo") for row in range(4)]
    scans = pd.DataFrame(rows, columns=["row", "subject", "session", "days", "arm"])
    scans.to_csv(stack / "scans.tsv", sep="\t", index=False)
    (stack / "grid.json").write_text(json.dumps({"shape": GRID.shape, "affine": GRID.affine.tolist()}))
    pairs = [(subject, "placebo", "ses-a", "ses-b", 9) for subject in ("sub-01", "sub-02")]
    pd.DataFrame(pairs, columns=PAIRS).to_csv(tmp_path / "pairs.tsv", sep="\t", index=False)
    return tmp_path


def index(folder):
    files = {"stack": folder / "stack", "pairs": folder / "pairs.tsv", "out": folder / "slices.tsv"}
    return main(["index-slices", *(f"--{name}={path}" for name, path in files.items())])


def test_the_index_holds_the_slices_of_all_pairs(folder):
    assert index(folder) == 0
    slices = load_stack(folder / "stack", folder / "slices.tsv").slices
    assert slices["slice"].tolist() == [1, 2, 3, 4] * 2
    first = slices[slices["pair"] == 0].set_index("slice")
    assert (first["brain_voxels"] == 42).all()
    assert first.loc[3, "change_voxels"] == 3
    assert first["slice_change_mm3"].tolist() == [0, 0, 9, 0]
    assert first["slice_change_count"].tolist() == [0, 0, 1, 0]
    assert first["scan_change_mm3"].tolist() == [9] * 4
    assert (first["baseline_row"] == 0).all()
    assert (first["follow_up_row"] == 1).all()
    assert "split" not in slices


def test_a_fold_gives_every_scan_and_slice_its_set(folder, capsys):
    assert index(folder) == 0
    fold = folder / "fold.tsv"
    fold.write_text("subject\tsplit\nsub-01\ttrain\nsub-02\ttest\n")
    stack = load_stack(folder / "stack", folder / "slices.tsv", fold)
    assert stack.scans["split"].tolist() == ["train", "train", "test", "test"]
    assert stack.slices.groupby("subject")["split"].unique().map(list).to_dict() == {
        "sub-01": ["train"],
        "sub-02": ["test"],
    }


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("sub-01\ttrain\n", "fold.tsv: expected a set for every patient, got none for sub-02"),
        ("sub-01\ttrain\nsub-01\ttest\nsub-02\ttest\n", "fold.tsv: patient sub-01 is in test and train"),
    ],
)
def test_a_fold_that_is_not_of_the_stack_is_refused(folder, rows, message):
    from msdiff.errors import BadInput

    (folder / "fold.tsv").write_text(f"subject\tsplit\n{rows}")
    with pytest.raises(BadInput, match=message):
        load_stack(folder / "stack", fold=folder / "fold.tsv")


def test_who_asks_for_pairs_of_single_scans_gets_one_line(folder, capsys):
    (folder / "pairs.tsv").write_text("\t".join(PAIRS) + "\n")
    assert index(folder) == 2
    assert "expected at least one pair, got an empty list" in capsys.readouterr().err
    assert not (folder / "slices.tsv").exists()


def test_a_pair_of_an_unknown_scan_is_refused(folder, capsys):
    (folder / "pairs.tsv").write_text("\t".join(PAIRS) + "\nsub-03\t\tses-a\tses-b\t9\n")
    assert index(folder) == 2
    assert "('sub-03', 'ses-a') is not among the scans" in capsys.readouterr().err


def test_no_change_in_any_pair_is_refused(folder, capsys):
    np.save(folder / "stack/change_mask.npy", np.zeros((4, 6, 8, 9), dtype=np.uint8))
    assert index(folder) == 2
    assert "expected some change in the patients, got none in 2 pairs" in capsys.readouterr().err


def test_list_without_its_columns_is_refused(folder, capsys):
    (folder / "pairs.tsv").write_text("subject\nsub-01\n")
    assert index(folder) == 2
    assert "pairs.tsv: missing columns arm, baseline_session" in capsys.readouterr().err


def test_components_touch_at_corners():
    mask = np.zeros(GRID.shape, dtype=bool)
    mask[2, 2, 2] = mask[3, 3, 2] = mask[4, 4, 3] = True
    rows = slice_rows(mask, np.ones(GRID.shape, dtype=bool), GRID).set_index("slice")
    assert (rows["scan_change_count"] == 1).all()
    assert rows.loc[2, "slice_change_count"] == 1
    assert new_lesions(np.zeros_like(mask), mask, GRID, 9.0).sum() == 3
    assert not new_lesions(np.zeros_like(mask), mask, GRID, 9.1).any()
