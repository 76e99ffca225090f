import numpy as np
import pandas as pd
import pytest

from msdiff.report.phrases import MINUS
from msdiff.report.systems import say


def test_overlap_of_intervals_is_told(tables, run_of):
    table = tables["augmentation"]
    text = say("augmentation", run_of(tables))
    assert "ViT (ResNet-50): lesion F1 was 0.4 [0.32, 0.48] with real slices alone" in text
    assert "and, of the mixes, highest at 1:2 (0.5 [0.4, 0.6])" in text
    assert "the intervals overlap" in text
    apart = table.assign(lesion_f1_lo=table["lesion_f1"] - 0.01, lesion_f1_hi=table["lesion_f1"] + 0.01)
    assert "the intervals do not overlap" in say("augmentation", run_of({"augmentation": apart}))


def test_one_patient_proves_no_benefit(tables, run_of):
    alone = tables["augmentation"].assign(n=1, lesion_f1_lo=np.nan, lesion_f1_hi=np.nan)
    text = say("augmentation", run_of({"augmentation": alone}))
    assert "there are no intervals, so that chance may explain it" in text
    assert "All this rests on 1 test patient, too few" in text


def test_no_benefit_is_told(tables, run_of):
    table = tables["augmentation"]
    text = say("augmentation", run_of({"augmentation": table.assign(lesion_f1=1 - table["lesion_f1"])}))
    assert "no mix with Long-MS-Diff reached the lesion F1 of real slices alone" in text
    text = say("augmentation", run_of({"augmentation": table.assign(lesion_f1=0.5)}))
    assert "no mix with Long-MS-Diff exceeded the lesion F1 of real slices alone" in text
    text = say("augmentation", run_of({"augmentation": table.assign(lesion_f1=0.0)}))
    assert "Bi-temporal UNet found no new lesion at any ratio." in text


def test_a_paired_test_goes_before_the_look_of_intervals(tables, tests_table, run_of):
    # In the fixture 1:2 is the highest; the test of 1:2 knows nothing of it.
    text = say("augmentation", run_of({**tables, "augmentation_tests": tests_table})).replace(MINUS, "-")
    assert "the patients' mean difference is -0.02 [-0.07, 0.03] with p = 0.6 after Holm's correction" in text
    assert "which chance may explain" in text
    sure = tests_table.assign(p_holm=0.01, difference=0.1)
    text = say("augmentation", run_of({**tables, "augmentation_tests": sure}))
    assert "with p = 0.01 after Holm's correction, which chance would rarely give" in text


@pytest.mark.parametrize(("factor", "words"), [(3, "more than"), (0.5, "less than"), (1, "the same as")])
def test_synthetic_slices_alone_are_no_mix(tables, run_of, factor, words):
    table = tables["augmentation"]
    real = table[(table["real_synthetic"] == "1:0") & (table["source"] == "msdiff")]
    alone = real[real["architecture"] == "unet"].assign(real_synthetic="0:1")
    alone["lesion_f1"] *= factor
    text = say("augmentation", run_of({"augmentation": pd.concat([table, alone])}))
    assert f"Synthetic slices alone gave {0.3 * factor:.3g} [0.24, 0.36], {words} real slices alone." in text
    assert "highest at 0:1" not in text


def test_detectors_of_several_generators_are_told_apart(tables, run_of):
    table = tables["augmentation"]
    other = table[table["source"] == "msdiff"].assign(generator="lesion_ddpm")
    text = say("augmentation", run_of({"augmentation": pd.concat([table, other], ignore_index=True)}))
    assert "Bi-temporal UNet with Long-MS-Diff: lesion F1" in text
    assert "Bi-temporal UNet with Lesion-DDPM: lesion F1" in text


def test_the_papers_numbers_are_its_own(tables, run_of):
    text = say("augmentation", run_of(tables))
    assert "On the paper's own 30 test patients Dice was highest at 1:2 (0.382)" in text
    assert "at 1:1 (0.246)" in text


def test_tests_are_counted_and_named(tests_table, run_of):
    text = say("augmentation_tests", run_of({"augmentation_tests": tests_table}))
    assert "Of 3 comparisons with real slices alone, 2 differ after Holm's correction" in text
    assert "lesion F1 of the bi-temporal UNet at 1:1 (higher by 0.1, p = 0.012)" in text
    assert "at 1:3 (lower by 0.2, p = 0.003)" in text
    assert "too few" not in text
    none = tests_table.assign(p_holm=0.5, n=4)
    text = say("augmentation_tests", run_of({"augmentation_tests": none}))
    assert "Of 3 comparisons with real slices alone, none differs" in text
    assert "With 4 patients an exact paired test cannot go below p = 0.125, so that none could." in text
    one = say("augmentation_tests", run_of({"augmentation_tests": tests_table.iloc[:1]}))
    assert "Of 1 comparison with real slices alone, 1 differs" in one


def test_smallest_and_largest_lesions_are_compared(sizes, run_of):
    text = say("lesion_sizes", run_of({"lesion_sizes": sizes}))
    assert "the bi-temporal UNet finds 0 % [0 %, 0 %] of the 1 new lesion below 14 mm" in text
    assert "and 80 % [40 %, 100 %] of the 5 new lesions of 65 mm" in text
    assert "Too few lesions" in say("lesion_sizes", run_of({"lesion_sizes": sizes.iloc[:1]}))
