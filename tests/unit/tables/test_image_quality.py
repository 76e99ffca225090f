import numpy as np
import pandas as pd
import pytest

from msdiff.errors import BadInput
from msdiff.tables.image_quality import COLUMNS, CONTRASTS, generator_order, image_quality_table, read_scores

PROMISED = [
    *("source", "cohort", "generator", "region", "n"),
    *("mse", "mae", "psnr", "ms_ssim", "change_mae", "lesion_contrast_ratio", "adherence_dice"),
]


@pytest.fixture
def scores():
    rows = []
    for subject, sample, mae in (("sub-1", 0, 0.1), ("sub-1", 1, 0.3), ("sub-2", 2, 0.4)):
        for generator, factor in (("long_ms_diff", 1), ("copy_baseline", 2)):
            for region in ("lesion", "brain"):
                # One real lesion has next to no contrast: a ratio per sample would be 30 there.
                real = {0: 0.4, 1: 0.01, 2: np.nan}[sample] if region == "lesion" else np.nan
                row = (subject, sample, generator, region, mae * factor, mae, 20.0, 0.9, 0.01, 0.3, real, np.nan)
                rows.append(row)
    names = ["subject", "sample", "generator", "region"]
    metrics = ["mae", "mse", "psnr", "ms_ssim", "change_mae", *CONTRASTS, "adherence_dice"]
    return pd.DataFrame(rows, columns=names + metrics)


def test_columns_are_those_promised(scores, table_settings):
    table = image_quality_table(scores, "phantom", table_settings)
    assert [column for column in table.columns if not column.endswith(("_lo", "_hi"))] == PROMISED
    assert ["source", *COLUMNS] == list(table.columns)


def test_the_patient_is_the_unit(scores, table_settings):
    table = image_quality_table(scores, "phantom", table_settings).set_index(["generator", "region"])
    # sub-1 has two samples, 0.1 and 0.3, sub-2 one of 0.4.
    assert table.loc[("long_ms_diff", "brain"), "mae"] == pytest.approx(0.3)
    assert table.loc[("copy_baseline", "brain"), "mae"] == pytest.approx(0.6)
    assert (table["n"] == 2).all()
    assert table.loc[("long_ms_diff", "brain"), "mae_lo"] == pytest.approx(0.2)
    assert table.loc[("long_ms_diff", "brain"), "mae_hi"] == pytest.approx(0.4)


def test_a_metric_without_values_is_missing(scores, table_settings):
    table = image_quality_table(scores, "phantom", table_settings).set_index(["generator", "region"])
    assert table["adherence_dice"].isna().all()
    assert np.isnan(table.loc[("long_ms_diff", "brain"), "lesion_contrast_ratio"])
    assert table.loc[("long_ms_diff", "lesion"), "lesion_contrast_ratio"] == pytest.approx(0.6 / 0.41)


def test_regions_stand_in_their_order(scores, table_settings):
    table = image_quality_table(scores, "phantom", table_settings)
    assert table["region"].tolist() == ["brain", "lesion"] * 2


def test_generators_stand_before_what_they_must_beat():
    names = ["real_follow_up", "noise_floor", "copy_baseline", "long_ms_diff", "paste_lesion", "blurred_baseline"]
    order = ["long_ms_diff", "blurred_baseline", "copy_baseline", "paste_lesion", "noise_floor", "real_follow_up"]
    assert sorted(names, key=generator_order) == order


def test_order_of_rows_does_not_matter(scores, table_settings):
    shuffled = scores.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(
        image_quality_table(scores, "phantom", table_settings), image_quality_table(shuffled, "phantom", table_settings)
    )


def test_scores_given_twice_count_once(scores, table_settings):
    twice = pd.concat([scores, scores])
    pd.testing.assert_frame_equal(
        image_quality_table(scores, "phantom", table_settings), image_quality_table(twice, "phantom", table_settings)
    )


def test_an_exact_image_does_not_make_the_mean_infinite(scores, table_settings):
    exact = scores.assign(psnr=[np.inf, *[20.0] * (len(scores) - 1)])
    assert image_quality_table(exact, "phantom", table_settings)["psnr"].eq(20).all()


def test_scores_of_generators_are_joined(scores, tmp_path):
    for name in ("a.tsv", "b.tsv"):
        scores.to_csv(tmp_path / name, sep="\t", index=False)
    assert len(read_scores([tmp_path / "a.tsv", tmp_path / "b.tsv"])) == 2 * len(scores)


def test_empty_scores_are_an_error(scores, tmp_path):
    scores.head(0).to_csv(tmp_path / "image_scores.tsv", sep="\t", index=False)
    with pytest.raises(BadInput, match="at least one scored sample"):
        read_scores([tmp_path / "image_scores.tsv"])
