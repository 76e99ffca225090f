import numpy as np
import pytest

from msdiff.report.systems import say


def test_image_quality_is_held_against_what_is_simpler(tables, run_of):
    text = say("image_quality", run_of(tables))
    assert "have 1.06 [0.845, 1.27] times the contrast of the real ones; the interval holds 1" in text
    assert "its mean absolute error is 0.12 [0.096, 0.144], below that of a copy of the baseline (0.15" in text
    assert "with overlapping intervals" in text
    assert "Dice of 0.6 [0.48, 0.72], against 0.8 [0.64, 0.96] in real follow-ups." in text
    assert "Where nothing changed its error is 0.036 [0.0288, 0.0432], 1.2 times that between two real scans." in text
    assert "4 held-out patients, too few" in text


@pytest.mark.parametrize(
    ("factor", "words"), [(0.5, ", less than these have"), (2.0, ", more than these have"), (1.0, "holds 1")]
)
def test_brightness_is_judged_by_its_interval(tables, run_of, factor, words):
    table = tables["image_quality"].copy()
    table.loc[:, [name for name in table if name.startswith("lesion_contrast_ratio")]] *= factor
    assert words in say("image_quality", run_of({"image_quality": table}))


def test_directions_follow_the_numbers(tables, run_of):
    table = tables["image_quality"].copy()
    ours = (table["generator"] == "long_ms_diff") & (table["region"] == "lesion")
    table.loc[ours, ["mae", "mae_lo", "mae_hi"]] = 0.3, 0.29, 0.31
    table.loc[ours, ["adherence_dice", "adherence_dice_lo", "adherence_dice_hi"]] = 0.99, 0.98, 1.0
    text = say("image_quality", run_of({"image_quality": table}))
    assert "0.3 [0.29, 0.31], above that of a copy of the baseline (0.15 [0.12, 0.18])" in text
    assert "generated lesions are easier to find than real ones" in text
    table.loc[ours, ["adherence_dice", "adherence_dice_lo", "adherence_dice_hi"]] = 0.1, 0.05, 0.2
    assert "generated lesions are harder to find than real ones" in say(
        "image_quality", run_of({"image_quality": table})
    )


def test_what_was_not_measured_is_not_told(tables, run_of):
    table = tables["image_quality"].assign(lesion_contrast_ratio=np.nan, adherence_dice=np.nan)
    text = say("image_quality", run_of({"image_quality": table}))
    assert "contrast" not in text
    assert "detector" not in text
    assert "nan" not in text


def test_an_idea_matters_where_its_interval_leaves_zero(ablation, run_of):
    text = say("ablation", run_of({"ablation": ablation}))
    assert (
        "Without the change mask: adherence to the mask falls by 0.6 [0.5, 0.7] and the error in lesions rises by "
        "0.1 [0.05, 0.2]." in text
    )
    assert "Without dropout of the baseline: no measure moves beyond its interval." in text
    assert "These are 4 differences without a correction; even if nothing mattered, about 0.2" in text
    assert "Each variant was trained once" in text
    several = ablation.assign(seeds=3, n=30)
    assert "Each variant was trained 3 times" in say("ablation", run_of({"ablation": several}))
    assert "too few" not in say("ablation", run_of({"ablation": several}))
    assert "no evidence" in text
    assert "no evidence" not in say("ablation", run_of({"ablation": several}))
