import itertools

import numpy as np
import pandas as pd
import pytest

from msdiff.errors import BadInput
from msdiff.tables.ablation import COLUMNS, METRICS, ablation_table, read_variants

REGIONS = ("brain", "lesion", "ring", "outside")


def scores(errors, contrasts=None, **constant):
    """Scores of patients (subject: errors of its samples) whose generated lesions have these contrasts; real: 0.2."""
    rows = [
        {
            "subject": subject,
            "sample": f"{subject}-{sample}",
            "generator": "long_ms_diff",
            "region": region,
            **dict.fromkeys(("mse", "psnr", "ms_ssim"), 0.5),
            "mae": error if region == "lesion" else error / 10,
            "change_mae": error / 100,
            "lesion_contrast": (contrasts or {}).get(subject, 0.1) if region == "lesion" else np.nan,
            "real_lesion_contrast": 0.2 if region == "lesion" else np.nan,
            "adherence_dice": 0.75 if region == "lesion" else np.nan,
        }
        | constant
        for subject, of_samples in errors.items()
        for sample, error in enumerate(of_samples)
        for region in REGIONS
    ]
    return pd.DataFrame(rows)


ERRORS = {"sub-1": [0.1, 0.3], "sub-2": [0.4], "sub-3": [0.6]}


def shifted(by):
    return {subject: [error + by for error in errors] for subject, errors in ERRORS.items()}


def table_of(variants, table_settings):
    return ablation_table(variants, "phantom", table_settings).set_index("variant")


def test_columns_are_those_promised(table_settings):
    table = ablation_table({"complete": [scores(ERRORS)]}, "phantom", table_settings)
    assert list(table.columns) == ["source", *COLUMNS]
    metrics = ["mae_brain", "mae_lesion", "lesion_contrast_ratio", "adherence_dice", "change_outside"]
    assert list(METRICS) == metrics
    assert [column for column in COLUMNS if not column.endswith(("_lo", "_hi"))] == [
        *("cohort", "variant", "n", "seeds"),
        *(column for metric in metrics for column in (metric, f"{metric}_difference")),
    ]


def test_a_variant_worse_by_the_same_in_every_patient_has_a_difference_without_width(table_settings):
    table = table_of({"complete": [scores(ERRORS)], "worse": [scores(shifted(0.1))]}, table_settings)
    row = table.loc["worse"]
    # The mean of patients 0.2, 0.4 and 0.6, whatever their number of samples.
    assert table.loc["complete", "mae_lesion"] == pytest.approx(0.4)
    assert row["mae_lesion"] == pytest.approx(0.5)
    assert row["mae_lesion_lo"] < 0.45 < 0.55 < row["mae_lesion_hi"]
    np.testing.assert_allclose(row[["mae_lesion_difference", "mae_lesion_difference_lo"]].astype(float), 0.1)
    assert row["mae_lesion_difference_hi"] == pytest.approx(0.1)
    assert row["mae_brain_difference"] == pytest.approx(0.01)
    assert row["change_outside"] == pytest.approx(0.005)
    assert row["adherence_dice_difference"] == 0
    assert table["n"].tolist() == [3, 3]


def test_the_ratio_of_contrasts_is_that_of_means(table_settings):
    bright = {"sub-1": 0.2, "sub-2": 0.4, "sub-3": 0.3}
    table = table_of({"complete": [scores(ERRORS)], "bright": [scores(ERRORS, bright)]}, table_settings)
    assert table.loc["complete", "lesion_contrast_ratio"] == pytest.approx(0.5)
    assert table.loc["bright", "lesion_contrast_ratio"] == pytest.approx(0.9 / 0.6)
    assert table.loc["bright", "lesion_contrast_ratio_difference"] == pytest.approx(1.0)
    assert 0.5 <= table.loc["bright", "lesion_contrast_ratio_difference_lo"] < 1


def test_trainings_are_averaged_within_a_patient(table_settings):
    trainings = [scores(shifted(by)) for by in (0.0, 0.1, 0.2)]
    table = table_of({"complete": [scores(ERRORS)], "other": trainings}, table_settings)
    assert table["seeds"].tolist() == [1, 3]
    assert table.loc["other", "mae_lesion_difference"] == pytest.approx(0.1)
    # The spread between trainings is not in the interval.
    assert table.loc["other", "mae_lesion_difference_hi"] == pytest.approx(0.1)


def test_order_of_rows_and_patients_does_not_matter(table_settings):
    variants = {"complete": [scores(ERRORS)], "worse": [scores(shifted(0.1))]}
    other = {name: [frame.sample(frac=1, random_state=3) for frame in frames] for name, frames in variants.items()}
    pd.testing.assert_frame_equal(table_of(variants, table_settings), table_of(other, table_settings))


def test_the_complete_generator_has_no_difference_to_itself(table_settings):
    table = table_of({"complete": [scores(ERRORS)]}, table_settings)
    assert table[[column for column in COLUMNS if "_difference" in column]].isna().all(axis=None)


def test_variants_of_other_patients_or_without_a_complete_one_are_refused(table_settings):
    fewer = {subject: ERRORS[subject] for subject in ("sub-1", "sub-2")}
    with pytest.raises(BadInput, match="worse on the same 3 patients"):
        table_of({"complete": [scores(ERRORS)], "worse": [scores(fewer)]}, table_settings)
    with pytest.raises(BadInput, match="variant complete"):
        table_of({"worse": [scores(ERRORS)]}, table_settings)


def test_variants_are_read_by_their_keys_without_the_baselines(tmp_path):
    both = pd.concat([scores(ERRORS), scores(ERRORS, generator="copy_baseline")])
    paths = []
    for name, seed in itertools.product(("complete", "worse"), (0, 1)):
        paths.append(tmp_path / f"{name}-{seed}.tsv")
        both.assign(variant=name, seed=seed).to_csv(paths[-1], sep="\t", index=False)
    variants = read_variants(paths)
    assert {name: len(frames) for name, frames in variants.items()} == {"complete": 2, "worse": 2}
    assert all((frame["generator"] == "long_ms_diff").all() for frames in variants.values() for frame in frames)
    both.to_csv(paths[0], sep="\t", index=False)
    with pytest.raises(BadInput, match="one value in the column variant, got none"):
        read_variants(paths)
