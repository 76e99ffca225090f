import numpy as np
import pytest

from msdiff.tables import published
from msdiff.tables.augmentation import paper_row
from msdiff.tables.cohort import ALL_ARMS

# Derived by hand from table 1 of Long-MS-Diff: lesion precision, recall, F1, F2, false positives per patient.
DERIVED = {
    "1:0": (0.134, 0.480, 0.209, 0.316, 10.2),
    "1:1": (0.160, 0.531, 0.246, 0.363, 9.1),
    "1:2": (0.125, 0.673, 0.212, 0.359, 15.3),
    "1:3": (0.108, 0.582, 0.182, 0.310, 15.7),
}


@pytest.mark.parametrize("row", published.AUGMENTATION, ids=lambda row: row["real_synthetic"])
def test_every_ratio_has_all_true_lesions(row):
    assert row["correct"] + row["false_negatives"] == published.LONG_MS_DIFF_TRUE_LESIONS == 98


@pytest.mark.parametrize("row", published.AUGMENTATION, ids=lambda row: row["real_synthetic"])
def test_lesion_columns_follow_from_the_papers_counts(row):
    derived = paper_row(row)
    precision, recall, f1, f2, per_patient = DERIVED[row["real_synthetic"]]
    assert derived["lesion_precision"] == pytest.approx(precision, abs=5e-4)
    assert derived["lesion_recall"] == pytest.approx(recall, abs=5e-4)
    assert derived["lesion_f1"] == pytest.approx(f1, abs=5e-4)
    assert derived["lesion_f2"] == pytest.approx(f2, abs=5e-4)
    assert derived["false_positives_per_patient"] == pytest.approx(per_patient, abs=0.051)


def test_arms_add_up_to_the_printed_total():
    arms = [row for row in published.COHORT if row["arm"] != ALL_ARMS]
    assert len(arms) == 6
    assert sum(row["n"] for row in arms) == published.COHORT[-1]["n"] == 1702


def test_training_took_72_gpu_hours():
    (row,) = published.COMPUTE
    assert row["gpu_hours"] == 4 * row["wall_hours"] == 72


def test_active_patients_are_a_percentage():
    shares = [row[key] for row in published.COHORT for key in row if key.startswith("active_percent")]
    assert np.all((np.array(shares) > 0) & (np.array(shares) < 100))
    assert len(shares) == 12
