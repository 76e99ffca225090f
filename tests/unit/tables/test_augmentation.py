import json

import numpy as np
import pandas as pd
import pytest

from msdiff.__main__ import main
from msdiff.errors import BadInput
from msdiff.tables.augmentation import COLUMNS, augmentation_table
from msdiff.tables.detector_runs import read_run
from msdiff.tables.layout import OURS, PAPER, read_table

# TABLES: key columns, then value columns, every estimate with its interval.
PROMISED = [
    *("source", "cohort", "generator", "architecture", "real_synthetic", "n", "seeds", "n_real", "n_synthetic"),
    *("dice", "precision", "recall", "correct", "false_positives", "false_negatives"),
    *("lesion_precision", "lesion_recall", "lesion_f1", "lesion_f2", "false_positives_per_patient", "expected_cost"),
    *("msseg2_recall", "msseg2_precision", "msseg2_f1", "msseg2_empty_predictions", "msseg2_empty_mm3"),
]


def read_all(folder):
    return [read_run(path) for path in sorted(folder.iterdir())]


def test_columns_are_those_promised(folder, table_settings):
    table = augmentation_table(read_all(folder), "phantom", table_settings)
    assert [column for column in table.columns if not column.endswith(("_lo", "_hi"))] == PROMISED
    assert ["source", *COLUMNS] == list(table.columns)


def test_known_answers_over_two_seeds(folder, table_settings):
    table = augmentation_table(read_all(folder), "phantom", table_settings)
    ours = table[table["source"] == OURS]
    assert ours["architecture"].tolist() == ["bit_resnet50", "unet"]
    row = ours.iloc[1]
    assert (row["cohort"], row["generator"], row["real_synthetic"]) == ("phantom", "long_ms_diff", "1:2")
    assert (row["n"], row["seeds"], row["n_real"], row["n_synthetic"]) == (3, 2, 10, 20.5)
    # Voxels over both seeds: tp 60, fp 40, fn 60, tn 5840.
    assert row["precision"] == pytest.approx(60 / 100)
    assert row["recall"] == pytest.approx(60 / 120)
    assert row["expected_cost"] == pytest.approx(990 * 40 / 5880 + 60 / 120)
    # The empty patient without a prediction has no Dice in seed 0, and 0 in seed 1.
    assert row["dice"] == pytest.approx(np.mean([(0.75 + 2 / 3) / 2, 0.25, 0]))
    # Lesions over both seeds: correct 6, false positives 4, false negatives 6; as counts, the mean over seeds.
    assert (row["correct"], row["false_positives"], row["false_negatives"]) == (3, 2, 3)
    assert row["lesion_precision"] == pytest.approx(6 / 10)
    assert row["lesion_recall"] == pytest.approx(6 / 12)
    assert row["lesion_f1"] == pytest.approx(2 * 0.6 * 0.5 / 1.1)
    assert row["lesion_f2"] == pytest.approx(5 * 0.6 * 0.5 / (4 * 0.6 + 0.5))
    assert row["false_positives_per_patient"] == pytest.approx(2 / 3)
    # By patient: SensL 3/4 and 4/4, 0 and 1/2; PPVL 2/4 and 2/2, none and 1/2. F1L 0.6 and 1, 0 and 1/2.
    assert row["msseg2_recall"] == pytest.approx((0.875 + 0.25) / 2)
    assert row["msseg2_precision"] == pytest.approx((0.75 + 0.5) / 2)
    assert row["msseg2_f1"] == pytest.approx((0.8 + 0.25) / 2)
    # The patient without a true lesion: nothing in one seed, two predictions of 20 mm3 in the other.
    assert (row["msseg2_empty_predictions"], row["msseg2_empty_mm3"]) == (1, 10)


def test_ratios_stand_from_real_only_to_synthetic_only(folder, table_settings):
    runs = read_all(folder)
    for run, ratio in zip(list(runs), ("0:1", "1:0", "1:3", "10:1"), strict=True):
        runs.append(run._replace(keys=("long_ms_diff", "unet", ratio)))
    table = augmentation_table(runs, "phantom", table_settings)
    ours = table[(table["source"] == OURS) & (table["architecture"] == "unet")]
    assert ours["real_synthetic"].tolist() == ["1:0", "10:1", "1:2", "1:3", "0:1"]


def test_intervals_hold_their_estimate(folder, table_settings):
    table = augmentation_table(read_all(folder), "phantom", table_settings)
    row = table[table["source"] == OURS].iloc[0]
    for metric in ("dice", "precision", "recall", "correct", "lesion_f1", "expected_cost"):
        assert row[f"{metric}_lo"] <= row[metric] <= row[f"{metric}_hi"]
        assert row[f"{metric}_lo"] < row[f"{metric}_hi"]


def test_papers_rows_have_no_interval(folder, table_settings):
    table = augmentation_table(read_all(folder), "phantom", table_settings)
    papers = table[table["source"] == PAPER]
    assert papers["real_synthetic"].tolist() == ["1:0", "1:1", "1:2", "1:3"]
    assert papers.filter(regex="_(lo|hi)$").isna().all(axis=None)
    assert papers["n"].eq(30).all()


def test_order_of_files_does_not_matter(folder, table_settings):
    runs = read_all(folder)
    there = augmentation_table(runs, "phantom", table_settings)
    back = augmentation_table(runs[::-1], "phantom", table_settings)
    pd.testing.assert_frame_equal(there, back)


def test_lost_lesions_are_an_error_that_names_the_row(folder, table_settings):
    path = folder / "unet-1" / "patients.tsv"
    path.write_text(path.read_text().replace("\t2\t0\t2\t4\t", "\t2\t0\t1\t4\t"))
    with pytest.raises(
        BadInput, match=r"scores of long_ms_diff, unet, 1:2, seed 1: .* = 4 true lesions in sub-1, got 3"
    ):
        augmentation_table(read_all(folder), "phantom", table_settings)


def test_rows_over_other_lesions_are_an_error(folder, table_settings):
    path = folder / "unet-1" / "patients.tsv"
    path.write_text(path.read_text().replace("\t2\t0\t2\t4\t", "\t2\t0\t3\t5\t"))
    with pytest.raises(BadInput, match=r"unet, 1:2, seed 1: expected the patients and true lesions .* got 7 in 3"):
        augmentation_table(read_all(folder), "phantom", table_settings)


def test_scores_without_their_keys_are_an_error(folder):
    path = folder / "unet-1/patients.tsv"
    patients = pd.read_csv(path, sep="\t")
    patients.drop(columns="generator").to_csv(path, sep="\t", index=False)
    with pytest.raises(BadInput, match="missing columns generator;"):
        read_run(folder / "unet-1")
    patients.assign(seed=range(3)).to_csv(path, sep="\t", index=False)
    with pytest.raises(BadInput, match="expected one value in the column seed, got 0, 1, 2"):
        read_run(folder / "unet-1")


def test_scores_tell_how_their_detector_was_trained(folder):
    run = read_run(folder / "unet-1")
    assert run.keys == ("long_ms_diff", "unet", "1:2")
    assert (run.seed, run.n_real, run.n_synthetic) == ("1", 10, 21)


def test_a_patient_twice_is_an_error(folder):
    path = folder / "unet-1"
    lines = (path / "patients.tsv").read_text().splitlines()
    (path / "patients.tsv").write_text("\n".join([*lines, lines[1]]))
    with pytest.raises(BadInput, match="one row per test patient"):
        read_run(path)


def test_command_writes_the_table(folder, tmp_path, table_settings):
    out = tmp_path / "augmentation.csv"
    inputs = ["--input", "cohort", "phantom", "--input", "runs", *map(str, folder.iterdir())]
    sections = json.dumps({"tables": table_settings.model_dump()})
    assert main(["table", "augmentation", *inputs, "--out", str(out), "--settings", sections]) == 0
    assert read_table(out)["source"].tolist() == [OURS, OURS, PAPER, PAPER, PAPER, PAPER]
