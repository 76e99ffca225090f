import pytest

from msdiff.report.summary import summary, warning
from msdiff.report.systems import say


def test_a_small_test_set_proves_nothing(tables, run_of):
    text = warning(run_of(tables))
    assert "proves nothing" in text
    assert "4 held-out patients and 4 test patients" in text
    assert "1 test patient, and" in warning(run_of({"augmentation": tables["augmentation"].assign(n=1)}))


def test_a_large_test_set_needs_no_warning(tables, run_of):
    assert warning(run_of({name: table.assign(n=30) for name, table in tables.items()})) == ""


def test_a_run_without_detectors_is_warned_by_its_images(tables, run_of):
    assert "4 held-out patients" in warning(run_of({"image_quality": tables["image_quality"]}))


def test_the_opening_says_what_was_run_on_whom(tables, run_of):
    paragraphs = dict(summary(run_of(tables, splits={"train": 12, "validation": 2, "test": 4})))
    text = paragraphs["What was run"]
    assert "The cohort phantom has 18 patients with a follow-up scan, and is split into 12 for training" in text
    assert "no patient was scanned" in text
    assert "Long-MS-Diff was trained on the training patients and sampled 240 new follow-ups of them." in text
    assert "Two detectors of new lesions (ViT (ResNet-50) and bi-temporal UNet) were trained" in text
    assert "at 1:0, 1:1 and 1:2, once each, and tested on the real scans of 4 test patients" in text
    assert "Numbers on simulated scans say nothing about patients" in paragraphs["What this does not show"]


def test_real_patients_are_not_called_simulated(tables, run_of):
    text = " ".join(paragraph.text for paragraph in summary(run_of(tables, sheet="scans.tsv")))
    assert "simulated" not in text
    assert "no patient was scanned" not in text


def test_the_opening_holds_the_main_numbers(tables, ablation, privacy, run_of):
    paragraphs = dict(summary(run_of({**tables, "ablation": ablation, "privacy": privacy})))
    assert "1.06 [0.845, 1.27] times the contrast" in paragraphs["Generated follow-ups"]
    without = "adherence to the mask falls without the change mask; it stays within its interval without dropout"
    assert without in paragraphs["Generated follow-ups"]
    assert "too narrow" in paragraphs["What this does not show"]
    assert "lesion F1 0.4 [0.32, 0.48] with real slices alone, at best 0.5 [0.4, 0.6]" in paragraphs["Detection"]
    assert "0 % by pixel correlation and 0.42 % by learned embedding are beyond the limit" in paragraphs["Privacy"]
    assert "which 1 % of real held-out slices exceed" in paragraphs["Privacy"]


def test_an_ablation_of_one_patient_has_nothing_to_tell(ablation, run_of):
    unknown = ablation.assign(adherence_dice_difference_lo=float("nan"), adherence_dice_difference_hi=float("nan"))
    assert "Generated follow-ups" not in dict(summary(run_of({"ablation": unknown})))


def test_what_a_run_lacks_is_not_in_its_opening(tables, run_of):
    titles = [paragraph.title for paragraph in summary(run_of({"cohort": tables["cohort"]}))]
    assert titles == ["What was run", "What this does not show"]


@pytest.mark.parametrize("name", ["augmentation", "image_quality", "cohort", "compute"])
def test_a_table_without_our_rows_says_nothing(tables, name, run_of):
    table = tables[name]
    assert say(name, run_of({name: table[table["source"] == "paper"]})) == ""
    assert say(name, run_of({name: table}))


def test_an_unknown_table_says_nothing(tables, run_of):
    assert say("horoscope", run_of({"horoscope": tables["compute"]})) == ""
