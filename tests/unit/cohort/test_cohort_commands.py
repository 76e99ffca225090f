import json

import numpy as np
import pandas as pd
import pytest

from msdiff.__main__ import main
from msdiff.cohort.pairs import PairSettings, pair_scans
from msdiff.cohort.sources.phantom import index_phantom
from msdiff.forecasting.slabs import load_slabs
from msdiff.images import Volume, check_grid, load_image, load_labels, load_mask, save
from msdiff.phantom.lesion_process import simulate_cohort
from msdiff.phantom.settings import PhantomSettings, roster
from msdiff.settings import check

CHOICES = {
    "split": {"train": 2, "validation": 0, "test": 1, "seed": 0},
    "pairs": {"minimum_days": 1, "maximum_days": 999},
}


def test_from_settings_to_pairs(few_lesions, tmp_path, capsys):
    few_lesions |= {"sessions": ["w000", "w048"], "arms": {"placebo": 2, "high_efficacy": 1}}
    settings = json.dumps(few_lesions)
    root, sheet = tmp_path / "raw", tmp_path / "sheet.tsv"
    listing = ["index-scans", "--source", "phantom", "--root", str(root), "--out", str(sheet), "--contrasts", "flair"]
    assert main([*listing, "--settings", settings]) == 0

    pairing = ["pair-scans", "--sheet", str(sheet), "--contrasts", "flair", "--settings", json.dumps(CHOICES)]
    pairing += ["--scans", str(tmp_path / "scans.tsv"), "--pairs", str(tmp_path / "pairs.tsv")]
    assert main(pairing) == 2
    assert "no such file" in capsys.readouterr().err
    assert not (tmp_path / "scans.tsv").exists()

    for subject in pd.read_csv(sheet, sep="\t")["subject"].unique():
        drawing = [
            "simulate-phantom",
            "--subject",
            subject,
            "--out",
            str(root / subject),
            "--contrasts",
            "flair",
            "t1w",
        ]
        assert main([*drawing, "--settings", settings]) == 0
    assert main(pairing) == 0
    pairs = pd.read_csv(tmp_path / "pairs.tsv", sep="\t")
    assert len(pairs) == 3
    assert pairs["split"].value_counts().to_dict() == {"train": 2, "test": 1}

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
        drawing = ["simulate-aligned", "--subjects", *subjects, "--contrasts", "flair", "--out", str(root / batch)]
        assert main([*drawing, "--settings", json.dumps(settings)]) == 0
    pairing = ["pair-scans", "--sheet", str(sheet), "--contrasts", "flair"]
    pairing += ["--scans", str(tmp_path / "scans.tsv"), "--pairs", str(tmp_path / "pairs.tsv")]
    assert main([*pairing, "--settings", json.dumps(CHOICES)]) == 0
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
    drawing = ["simulate-aligned", "--subjects", *subjects, "--contrasts", "flair", "--out", str(tmp_path / "000")]
    assert main([*drawing, "--settings", json.dumps(settings)]) == 0
    for subject in subjects:
        brain = load_mask(tmp_path / f"000/stripped/{subject}/brain_mask.nii.gz")
        save(Volume(brain.data * np.int32(41), brain.affine), tmp_path / f"regions/{subject}/regions.nii.gz")
    scans = index_phantom(tmp_path, phantom, ["flair"], 4).assign(split="train")
    pairs = pair_scans(scans, check(PairSettings, CHOICES["pairs"]))
    for name, table in {"scans": scans, "pairs": pairs}.items():
        table.to_csv(tmp_path / f"{name}.tsv", sep="\t", index=False)
    stacking = ["stack-scans", "--contrasts", "flair", "--settings", '{"min_change_volume_mm3": 0}']
    stacking += [f"--{name}={tmp_path / name}.tsv" for name in ("scans", "pairs")]
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
        (["--subject", "sub-0099", "--contrasts", "flair"], "sub-0099"),
        (["--subject", "patient", "--contrasts", "flair"], "patient"),
        (["--subject", "sub-0001", "--contrasts", "dwi"], "dwi"),
    ],
)
def test_bad_input_ends_in_one_line(values, tmp_path, capsys, arguments, message):
    out = tmp_path / "patient"
    assert main(["simulate-phantom", *arguments, "--out", str(out), "--settings", json.dumps(values)]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("msdiff simulate-phantom: error:")
    assert message in error
    assert not out.exists()


def test_pairs_to_train_on_are_needed(tmp_path, capsys, caplog):
    (tmp_path / "scan.nii.gz").touch()
    rows = [("sub-1", "ses-a", 0, "train"), ("sub-2", "ses-a", 0, "test"), ("sub-2", "ses-b", 9, "test")]
    table = pd.DataFrame(rows, columns=["subject", "session", "days", "split"])
    sheet, pairs = tmp_path / "sheet.tsv", tmp_path / "pairs.tsv"
    settings = json.dumps({"split": {"train": 1, "validation": 0, "test": 1, "seed": 0}, "pairs": CHOICES["pairs"]})
    pairing = ["pair-scans", "--sheet", str(sheet), "--contrasts", "flair", "--settings", settings]
    pairing += ["--scans", str(tmp_path / "scans.tsv"), "--pairs", str(pairs)]

    table.assign(flair="scan.nii.gz", lesion_mask="scan.nii.gz").to_csv(sheet, sep="\t", index=False)
    assert main(pairing) == 2
    assert "expected a pair to train on, got none of 1" in capsys.readouterr().err
    assert not pairs.exists()

    table["split"] = table["subject"].map({"sub-1": "test", "sub-2": "train"})
    table.assign(flair="scan.nii.gz", lesion_mask="scan.nii.gz").to_csv(sheet, sep="\t", index=False)
    assert main(pairing) == 0
    assert len(pd.read_csv(pairs, sep="\t")) == 1
    assert len(pd.read_csv(tmp_path / "scans.tsv", sep="\t")) == 3
    assert "no pair to test on" in caplog.text
