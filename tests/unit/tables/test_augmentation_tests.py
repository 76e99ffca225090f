import json
import shutil

import numpy as np
import pandas as pd
import pytest
from scipy.stats import wilcoxon

from msdiff.__main__ import main
from msdiff.tables.augmentation_tests import COLUMNS, METRICS, augmentation_tests_table
from msdiff.tables.detector_runs import PATIENT_COLUMNS, DetectorRun
from msdiff.tables.layout import read_table

N = 30
TRUE = np.random.default_rng(1).integers(1, 6, N)


def run(ratio, seed, found, false_positives, dice=None, architecture="unet"):
    """A run over N patients: true lesions found, false positives (patient,)."""
    patients = pd.DataFrame(0, index=range(N), columns=PATIENT_COLUMNS).astype({"dice": float})
    patients["subject"] = [f"sub-{number:02d}" for number in range(N)]
    patients["correct"], patients["false_positives"] = found, false_positives
    patients["true_lesions"] = patients["msseg2_true_lesions"] = TRUE
    patients["false_negatives"] = TRUE - found
    patients["dice"] = found / TRUE if dice is None else dice
    return DetectorRun(("long_ms_diff", architecture, ratio), str(seed), 1, 1, patients, pd.DataFrame())


@pytest.fixture
def runs():
    """Real only finds half of the lesions; 1:1 one more in every patient who has another, 0:1 the same as real only."""
    half = TRUE // 2
    more = np.minimum(half + 1, TRUE)
    noise = np.random.default_rng(2).integers(0, 3, N)
    listed = [("1:0", half, noise), ("0:1", half, noise), ("1:1", more, noise + 2)]
    return [run(ratio, seed, found, wrong) for ratio, found, wrong in listed for seed in (0, 1)]


def rows(table, **wanted):
    for column, value in wanted.items():
        table = table[table[column] == value]
    return table


def test_rows_and_columns(runs, table_settings):
    table = augmentation_tests_table(runs, "phantom", table_settings)
    assert list(table.columns) == ["source", *COLUMNS]
    assert table["metric"].tolist() == [metric for metric in METRICS for _ in range(2)]
    assert table["real_synthetic"].tolist() == ["1:1", "0:1"] * 4
    assert (table["n"] == N).all()


def test_differences_and_p_by_hand(runs, table_settings):
    table = augmentation_tests_table(runs, "phantom", table_settings)
    half, more = TRUE // 2, np.minimum(TRUE // 2 + 1, TRUE)
    (row,) = rows(table, metric="dice", real_synthetic="1:1").to_dict("records")
    assert row["difference"] == pytest.approx((more / TRUE - half / TRUE).mean())
    assert row["difference_lo"] < row["difference"] < row["difference_hi"]
    assert row["p"] == pytest.approx(wilcoxon(more / TRUE, half / TRUE).pvalue)
    (row,) = rows(table, metric="false_positives", real_synthetic="1:1").to_dict("records")
    # Two more in every patient: no spread, and the smallest p.
    assert (row["difference"], row["difference_lo"], row["difference_hi"]) == pytest.approx((2, 2, 2))
    assert row["p"] < 1e-5
    same = rows(table, real_synthetic="0:1")
    assert same["difference"].eq(0).all()
    assert same["p"].eq(1).all()


def test_holm_counts_the_mixes_of_one_architecture_and_metric(runs, table_settings):
    other = [each._replace(keys=("long_ms_diff", "bit_resnet50", each.keys[2])) for each in runs]
    table = augmentation_tests_table([*runs, *other], "phantom", table_settings)
    better = rows(table, real_synthetic="1:1")
    np.testing.assert_allclose(better["p_holm"], np.minimum(2 * better["p"], 1))
    assert rows(table, real_synthetic="0:1")["p_holm"].eq(1).all()
    assert len(table) == 2 * len(augmentation_tests_table(runs, "phantom", table_settings))


def test_seeds_are_averaged_in_each_patient(table_settings):
    """Two trainings that differ as much, one up and one down, differ by nothing."""
    half, nothing = TRUE // 2, np.zeros(N, dtype=int)
    runs = [run("1:0", seed, half, nothing + 2) for seed in (0, 1)]
    runs += [run("1:1", 0, half, nothing), run("1:1", 1, half, nothing + 4)]
    table = augmentation_tests_table(runs, "phantom", table_settings)
    (row,) = rows(table, metric="false_positives").to_dict("records")
    assert (row["difference"], row["p"]) == (0, 1)


def test_only_patients_with_both_values_are_compared(table_settings):
    half, nothing = TRUE // 2, np.zeros(N, dtype=int)
    few = np.where(np.arange(N) < 5, np.nan, 0.5)
    table = augmentation_tests_table(
        [run("1:0", 0, half, nothing, dice=few), run("1:1", 0, half, nothing, dice=0.75)], "phantom", table_settings
    )
    (row,) = rows(table, metric="dice").to_dict("records")
    assert (row["n"], row["difference"]) == (N - 5, 0.25)


def test_without_real_only_there_is_nothing_to_compare(runs, table_settings):
    table = augmentation_tests_table([each for each in runs if each.keys[2] != "1:0"], "phantom", table_settings)
    assert table.empty
    assert list(table.columns) == ["source", *COLUMNS]


def test_command_writes_the_table(folder, tmp_path, table_settings):
    for scores in list(folder.iterdir()):
        patients = pd.read_csv(scores / "patients.tsv", sep="\t")
        real = shutil.copytree(scores, folder / f"{scores.name}-real")
        patients.assign(mix="1-0").to_csv(real / "patients.tsv", sep="\t", index=False)
    scores = sorted(map(str, folder.iterdir()))
    assert len(scores) == 8
    out = tmp_path / "augmentation_tests.csv"
    options = ["--out", str(out), "--settings", json.dumps({"tables": table_settings.model_dump()})]
    inputs = ["--input", "cohort", "phantom", "--input", "runs", *scores]
    assert main(["table", "augmentation_tests", *inputs, *options]) == 0
    table = read_table(out)
    assert table["architecture"].tolist() == ["bit_resnet50"] * 4 + ["unet"] * 4
    assert table["real_synthetic"].eq("1:2").all()
    assert table["difference"].eq(0).all()
