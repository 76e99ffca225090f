import numpy as np
import pytest

from msdiff.report.sentences import say, warning


def test_a_small_test_set_proves_nothing(tables):
    assert "proves nothing" in warning(tables)
    assert "4 test patients and 4 held-out patients" in warning(tables)


def test_a_large_test_set_needs_no_warning(tables):
    assert warning({name: table.assign(n=30) for name, table in tables.items()}) == ""


def test_a_run_without_detectors_is_warned_by_its_images(tables):
    assert "4 held-out patients" in warning({"image_quality": tables["image_quality"]})


def test_overlap_of_intervals_is_told(tables):
    table = tables["augmentation"]
    assert "ViT (ResNet-50): lesion F1 was highest at 1:2 (0.5, against 0.4" in say("augmentation", table)
    assert "the intervals overlap" in say("augmentation", table)
    apart = table.assign(lesion_f1_lo=table["lesion_f1"] - 0.01, lesion_f1_hi=table["lesion_f1"] + 0.01)
    assert "the intervals do not overlap" in say("augmentation", apart)


def test_one_patient_proves_no_benefit(tables):
    table = tables["augmentation"]
    alone = table.assign(n=1, lesion_f1_lo=np.nan, lesion_f1_hi=np.nan)
    assert "there are no intervals, so that chance may explain it" in say("augmentation", alone)
    assert "All this rests on 1 test patient, too few" in say("augmentation", alone)
    assert "rest on 1 test patient, and" in warning({"augmentation": alone})


def test_no_benefit_is_told(tables):
    table = tables["augmentation"]
    fallen = table.assign(lesion_f1=1 - table["lesion_f1"])
    assert "no mix with Long-MS-Diff reached the lesion F1 of real slices alone" in say("augmentation", fallen)


def test_image_quality_is_held_against_a_copy(tables):
    text = say("image_quality", tables["image_quality"])
    assert "about as bright as real ones (contrast ratio 1.06)" in text
    assert "Its error in the brain is 1.33 times the noise floor." in text
    assert "its error is below that of a copy of the baseline (0.12 against 0.15)" in text
    assert "4 held-out patients, too few" in text


@pytest.mark.parametrize("name", ["augmentation", "image_quality", "cohort", "compute"])
def test_a_table_without_our_rows_says_nothing(tables, name):
    table = tables[name]
    assert say(name, table[table["source"] == "paper"]) == ""
    assert say(name, table)


def test_an_unknown_table_says_nothing(tables):
    assert say("privacy", tables["compute"]) == ""
