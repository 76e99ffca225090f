import json

import numpy as np
import pandas as pd
import pytest

from msdiff.__main__ import main
from msdiff.cohort.sources.phantom import index_phantom
from msdiff.forecasting.slabs import load_slabs
from msdiff.images import Volume, check_grid, load_image, load_labels, load_mask, save
from msdiff.phantom.lesion_process import simulate_cohort
from msdiff.phantom.settings import PhantomSettings, roster
from msdiff.settings import check

LIMITS = {"minimum_days": 1, "maximum_days": 999}


def checking(folder):
    """The command that checks folder/sheet.tsv."""
    return ["check-sheet", f"--sheet={folder / 'sheet.tsv'}", "--contrasts=flair", f"--out={folder / 'scans.tsv'}"]


def pairing(folder):
    """The command that pairs the scans of folder/scans.tsv."""
    lists = [f"--scans={folder / 'scans.tsv'}", f"--out={folder / 'pairs.tsv'}"]
    return ["pair-scans", *lists, f"--settings={json.dumps(LIMITS)}"]


def assigning(folder, **split):
    """The command that assigns the patients of folder/sheet.tsv to the sets of their own split."""
    choice = json.dumps({"backend": "split", "options": split | {"seed": 0}})
    lists = [f"--sheet={folder / 'sheet.tsv'}", "--contrasts=flair", f"--out={folder / 'fold.tsv'}"]
    return ["assign-fold", "--fold=split", *lists, f"--settings={choice}"]


def test_from_settings_to_pairs(few_lesions, tmp_path, capsys):
    few_lesions |= {"sessions": ["w000", "w048"], "arms": {"placebo": 2, "high_efficacy": 1}}
    settings = json.dumps(few_lesions)
    root, sheet = tmp_path / "raw", tmp_path / "sheet.tsv"
    listing = ["index-scans", "--source", "phantom", "--root", str(root), "--out", str(sheet), "--contrasts", "flair"]
    assert main([*listing, "--settings", settings]) == 0

    assert main(checking(tmp_path)) == 2
    assert "no such file" in capsys.readouterr().err
    assert not (tmp_path / "scans.tsv").exists()

    subjects = pd.read_csv(sheet, sep="\t")["subject"].unique()
    simulating = ["simulate-phantom", "--subjects", *subjects, "--out", str(root), "--contrasts", "flair", "t1w"]
    assert main([*simulating, "--settings", settings]) == 0
    assert main(checking(tmp_path)) == 0
    assert main(pairing(tmp_path)) == 0
    assert len(pd.read_csv(tmp_path / "pairs.tsv", sep="\t")) == 3
    assert main(assigning(tmp_path, train=2, validation=0, test=1)) == 0
    fold = pd.read_csv(tmp_path / "fold.tsv", sep="\t")
    assert fold["split"].value_counts().to_dict() == {"train": 2, "test": 1}

    folder = root / "sub-0001"
    flair = load_image(folder / "ses-w048_flair.nii.gz")
    for mask in ("lesion_mask", "change_mask", "enhancing_mask", "brain_mask"):
        load_mask(folder / f"ses-w048_{mask}.nii.gz", flair.grid)
    check_grid(load_labels(folder / "ses-w048_tissue.nii.gz").grid, flair.grid, "tissue")
    names = {path.name for path in folder.iterdir()}
    assert "ses-w000_change_mask.nii.gz" not in names
    assert {"ses-w000_t1w.nii.gz", "ses-w048_flair_to_head.txt", "ses-w048_t1w_to_head.txt"} <= names


def test_batches_on_the_common_grid_are_what_preprocessing_leaves(few_lesions, tmp_path):
    few_lesions |= {"arms": {"placebo": 2, "high_efficacy": 1}, "space": "template", "sessions": ["w000", "w048"]}
    root, sheet = tmp_path / "aligned", tmp_path / "sheet.tsv"
    listing = ["index-scans", "--source", "phantom", "--root", str(root), "--out", str(sheet), "--contrasts", "flair"]
    assert main([*listing, "--patients-per-folder", "2", "--settings", json.dumps(few_lesions)]) == 0
    settings = {
        "phantom": few_lesions,
        "grid": {"shape": [48, 56, 20], "spacing_mm": [4.0, 4.0, 8.0], "centre_mm": [0.0, -18.0, 8.0]},
        "normalisation": {"backend": "zscore", "options": {"gain": "median", "deviations": 5.0}},
    }
    for batch, subjects in {"000": ["sub-0001", "sub-0002"], "001": ["sub-0003"]}.items():
        simulating = ["simulate-aligned", "--subjects", *subjects, "--contrasts", "flair", "--out", str(root / batch)]
        assert main([*simulating, "--settings", json.dumps(settings)]) == 0
    assert [main(checking(tmp_path)), main(pairing(tmp_path))] == [0, 0]
    assert len(pd.read_csv(tmp_path / "pairs.tsv", sep="\t")) == 3

    brain = load_mask(root / "001/stripped/sub-0003/brain_mask.nii.gz")
    assert brain.grid.shape == (48, 56, 20)
    for session in ("ses-w000", "ses-w048"):
        normalised = load_image(root / f"001/normalised/sub-0003/{session}_flair.nii.gz")
        check_grid(normalised.grid, brain.grid, session)
        assert (normalised.data[~brain.data] == -1).all()
        assert np.median(normalised.data[brain.data]) == pytest.approx(0, abs=0.1)
        assert (np.abs(normalised.data) <= 1).all()
        load_mask(root / f"001/registered/sub-0003/{session}_enhancing_mask.nii.gz", brain.grid)


def test_slabs_of_whole_heads_count_what_the_lesion_process_says(few_lesions, tmp_path):
    few_lesions |= {"arms": {"placebo": 4}, "space": "template"}
    grid = {"shape": [64, 64, 24], "spacing_mm": [3.0, 3.0, 6.0], "centre_mm": [0.0, -18.0, 8.0]}
    normalisation = {"backend": "zscore", "options": {"gain": "median", "deviations": 5.0}}
    phantom = check(PhantomSettings, few_lesions)
    subjects = list(roster(phantom))
    settings = {"phantom": few_lesions, "grid": grid, "normalisation": normalisation}
    simulating = ["simulate-aligned", "--subjects", *subjects, "--contrasts", "flair", "--out", str(tmp_path / "000")]
    assert main([*simulating, "--settings", json.dumps(settings)]) == 0
    for subject in subjects:
        brain = load_mask(tmp_path / f"000/stripped/{subject}/brain_mask.nii.gz")
        save(Volume(brain.data * np.int32(41), brain.affine), tmp_path / f"regions/{subject}/regions.nii.gz")
    index_phantom(tmp_path, phantom, ["flair"], 4).to_csv(tmp_path / "scans.tsv", sep="\t", index=False)
    stacking = ["stack-scans", "--contrasts", "flair", "--settings", '{"min_change_volume_mm3": 0}']
    stacking += [f"--scans={tmp_path / 'scans.tsv'}"]
    stacking += [f"--{step}={tmp_path / '000' / step}" for step in ("registered", "stripped", "normalised")]
    assert main([*stacking, f"--parcellation={tmp_path / 'regions'}", f"--out={tmp_path / 'stack'}"]) == 0
    slabs = {"sessions": ["w000", "w048", "w096"], "images": ["flair", "lesion_mask", "enhancing_mask"], "slices": 24}
    slabs |= {"centre_mm": None, "label_blur": {"sigma_voxels": 1.0, "width_voxels": 5}, "clip_deviations": 4.0}
    readout = {"opening_voxels": [1, 1, 1], "connectivity": 26, "min_lesion_volume_mm3": 0.0}
    readout |= {"region_overlap_voxels": 1, "region_rule": "overlap"}
    cutting = json.dumps({"slabs": slabs, "arms": ["placebo"], "readout": readout})
    assert (
        main(["cut-slabs", f"--stack={tmp_path / 'stack'}", f"--out={tmp_path / 'slabs'}", "--settings", cutting]) == 0
    )

    patients = load_slabs(tmp_path / "slabs").patients.set_index("subject")
    counts = simulate_cohort(phantom).pivot(index="subject", columns="session", values="net2")
    assert patients["count_before"].to_dict() == counts["ses-w048"].to_dict()
    assert patients["count"].to_dict() == counts["ses-w096"].to_dict()
    assert patients["cerebral_white_matter"].tolist() == (counts["ses-w096"] > 0).astype(int).tolist()
    assert counts["ses-w096"].sum() >= 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--subjects", "sub-0099", "--contrasts", "flair"], "sub-0099"),
        (["--subjects", "patient", "--contrasts", "flair"], "patient"),
        (["--subjects", "sub-0001", "--contrasts", "dwi"], "dwi"),
    ],
)
def test_bad_input_ends_in_one_line(values, tmp_path, capsys, arguments, message):
    out = tmp_path / "patient"
    assert main(["simulate-phantom", *arguments, "--out", str(out), "--settings", json.dumps(values)]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("msdiff simulate-phantom: error:")
    assert message in error
    assert not out.exists()


@pytest.fixture
def short_sheet(tmp_path):
    """A function that writes a sheet of rows (subject, session, days, split) and checks it."""
    (tmp_path / "scan.nii.gz").touch()

    def write(*rows):
        table = pd.DataFrame(rows, columns=["subject", "session", "days", "split"])
        table = table.assign(flair="scan.nii.gz", lesion_mask="scan.nii.gz")
        table.to_csv(tmp_path / "sheet.tsv", sep="\t", index=False)
        return main(checking(tmp_path))

    return write


def test_a_fold_without_followed_patients_is_told(short_sheet, tmp_path, caplog):
    followed = [("sub-2", "ses-a", 0, "test"), ("sub-2", "ses-b", 9, "test")]
    assert short_sheet(("sub-1", "ses-a", 0, "train"), *followed) == 0
    assert main(assigning(tmp_path, train=1, validation=0, test=1)) == 0
    assert "no patient with a follow-up to train on" in caplog.text
    caplog.clear()
    assert short_sheet(("sub-1", "ses-a", 0, "test"), *((*row[:3], "train") for row in followed)) == 0
    assert main(assigning(tmp_path, train=1, validation=0, test=1)) == 0
    assert "no patient with a follow-up to test on" in caplog.text


def test_patients_with_one_session_have_sets_and_no_pairs(short_sheet, tmp_path, capsys, caplog):
    assert short_sheet(*((f"sub-{number}", "ses-a", 0, "") for number in range(4))) == 0
    assert len(pd.read_csv(tmp_path / "scans.tsv", sep="\t")) == 4
    assert main(assigning(tmp_path, train=2, validation=1, test=1)) == 0
    assert "follow-up" not in caplog.text
    fold = pd.read_csv(tmp_path / "fold.tsv", sep="\t")
    assert fold["split"].value_counts().to_dict() == {"train": 2, "validation": 1, "test": 1}
    capsys.readouterr()
    assert main(pairing(tmp_path)) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("msdiff")]
    assert "expected patients with a follow-up, got 4 patients with one session each" in line
    assert not (tmp_path / "pairs.tsv").exists()


def test_an_unknown_fold_is_one_line(short_sheet, tmp_path, capsys):
    assert short_sheet(*((f"sub-{number}", "ses-a", 0, "") for number in range(3))) == 0
    command = assigning(tmp_path, train=1, validation=1, test=1)
    command[1:2] = ["--fold=7"]
    assert main(command) == 2
    assert "folds: expected one of split, got '7'" in capsys.readouterr().err
    assert not (tmp_path / "fold.tsv").exists()
