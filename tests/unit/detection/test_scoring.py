import math

import numpy as np
import pandas as pd
import pytest

from msdiff.detection.scoring import (
    LESION_COLUMNS,
    PATIENT_COLUMNS,
    DetectionSettings,
    Msseg2Settings,
    detect_lesions,
    load_predictions,
    save_scores,
    score_volume,
)
from msdiff.errors import BadInput

SETTINGS = DetectionSettings(
    threshold=0.5,
    min_lesion_volume_mm3=100,  # two voxels of 54 mm3
    connectivity=26,
    matcher="overlap",
    min_overlap=0.6,
    dice_without_lesions="leave_out",
    msseg2=Msseg2Settings(alpha=0.1, beta=0.7, gamma=0.65, min_lesion_volume_mm3=108),  # more than two voxels
)


def brightening(baseline, follow_up):
    """A detector by eye: what is clearly brighter than it was."""
    return (follow_up - baseline > 0.3).astype(np.float32)


def nothing(baseline, follow_up):
    return np.zeros_like(baseline)


def everything(baseline, follow_up):
    return np.ones_like(baseline)


def test_true_lesions_are_the_same_for_every_detector(stack):
    rows = [
        detect_lesions(stack, "test", detector, "flair", SETTINGS).patients
        for detector in (brightening, nothing, everything)
    ]
    for patients in rows:
        assert list(patients.columns) == PATIENT_COLUMNS
        np.testing.assert_array_equal(patients["correct"] + patients["false_negatives"], patients["true_lesions"])
        np.testing.assert_array_equal(patients["true_lesions"], rows[0]["true_lesions"])
    assert rows[0]["correct"].sum() >= 0.8 * rows[0]["true_lesions"].sum() > 0


def test_predictions_stay_within_the_brain(stack):
    scores = detect_lesions(stack, "test", everything, "flair", SETTINGS)
    brains = stack.array("brain_mask")[scores.pairs["follow_up_row"].to_numpy()]
    np.testing.assert_array_equal(scores.predicted, brains.astype(bool))
    np.testing.assert_array_equal(scores.patients["tn"], 0)


def test_a_patient_without_true_lesions(stack):
    last = -1  # the stack's last test patient has none
    for detector, settings, expected in (
        (nothing, SETTINGS, math.nan),
        (everything, SETTINGS, math.nan),
        (nothing, SETTINGS.model_copy(update={"dice_without_lesions": "one_or_zero"}), 1),
        (everything, SETTINGS.model_copy(update={"dice_without_lesions": "one_or_zero"}), 0),
    ):
        patient = detect_lesions(stack, "test", detector, "flair", settings).patients.iloc[last]
        assert patient["true_lesions"] == 0
        assert patient["false_positives"] == (detector is everything)
        # As MSSEG-2: where nothing is true, the number and volume of the predictions tell.
        assert patient["msseg2_true_lesions"] == 0
        assert patient["msseg2_predictions"] == (detector is everything)
        assert patient["msseg2_predicted_mm3"] == pytest.approx(54 * patient["fp"])
        assert patient["dice"] == pytest.approx(expected, nan_ok=True)


def test_small_components_count_on_neither_side():
    brain = np.ones((2, 9, 9), dtype=bool)
    true, predicted = np.zeros_like(brain), np.zeros_like(brain)
    true[0, 1, 1:3] = predicted[0, 1, 1:3] = True
    true[0, 7, 7] = predicted[1, 4, 4] = True
    counts, rows, mask = score_volume(true, predicted, brain, 54.0, SETTINGS)
    assert counts == {
        **{"tp": 2, "fp": 0, "fn": 0, "tn": 160},
        **{"correct": 1, "false_positives": 0, "false_negatives": 0, "true_lesions": 1},
        **{"msseg2_true_lesions": 0, "msseg2_detected": 0, "msseg2_predictions": 0, "msseg2_true_predictions": 0},
        "msseg2_predicted_mm3": 0,
    }
    assert rows == [("true", 1, 108.0, True, None), ("predicted", 1, 108.0, True, None)]
    assert mask.sum() == 2


def test_both_rules_judge_the_same_lesions():
    brain = np.ones((1, 20, 20), dtype=bool)
    true, predicted = np.zeros_like(brain), np.zeros_like(brain)
    # Half of the prediction lies on the lesion: too little for the one rule, enough for the other.
    true[0, 2, 0:5] = predicted[0, 2, 0:10] = True
    # A tenth of the lesion is predicted: enough for the one rule, too little for the other.
    true[0, 10:12, 0:15] = predicted[0, 10, 0:3] = True
    # Two voxels are too small for the other rule.
    predicted[0, 18, 0:2] = True
    counts, rows, _ = score_volume(true, predicted, brain, 54.0, SETTINGS)
    assert [(row[0], *row[3:]) for row in rows] == [
        ("true", False, True),
        ("true", True, False),
        ("predicted", False, True),
        ("predicted", True, False),
        ("predicted", False, None),
    ]
    assert (counts["correct"], counts["false_positives"]) == (1, 2)
    assert (counts["msseg2_detected"], counts["msseg2_predictions"], counts["msseg2_true_predictions"]) == (1, 2, 1)


def test_several_pairs_of_a_patient_are_added(stack):
    one = detect_lesions(stack, "test", brightening, "flair", SETTINGS)
    merged = stack._replace(
        slices=stack.slices.assign(subject=np.where(stack.slices["split"] == "test", "sub-all", ""))
    )
    together = detect_lesions(merged, "test", brightening, "flair", SETTINGS).patients
    assert len(together) == 1
    for column in ("tp", "n_slices", "correct", "false_positives"):
        assert together[column].item() == one.patients[column].sum()


def test_what_is_saved_can_be_read(stack, tmp_path):
    scores = detect_lesions(stack, "test", brightening, "flair", SETTINGS)
    save_scores(scores, stack, tmp_path / "scores")
    patients = pd.read_csv(tmp_path / "scores" / "patients.tsv", sep="\t")
    pd.testing.assert_frame_equal(patients, scores.patients)
    lesions = pd.read_csv(tmp_path / "scores" / "lesions.tsv", sep="\t", dtype={"msseg2_matched": "boolean"})
    for kind, counted, found in (
        ("true", "true_lesions", "detected"),
        ("predicted", "predictions", "true_predictions"),
    ):
        judged = lesions.loc[lesions["kind"] == kind, "msseg2_matched"]
        assert judged.count() == patients[f"msseg2_{counted}"].sum()
        assert judged.sum() == patients[f"msseg2_{found}"].sum()
    assert list(lesions.columns) == LESION_COLUMNS
    assert (lesions["kind"] == "true").sum() == patients["true_lesions"].sum()
    assert (lesions.loc[lesions["kind"] == "true", "matched"]).sum() == patients["correct"].sum()
    predictions = load_predictions(tmp_path / "scores" / "predictions.npz")
    np.testing.assert_array_equal(predictions.predicted, scores.predicted)
    assert predictions.subject.tolist() == sorted(patients["subject"])
    np.testing.assert_array_equal(predictions.affine, stack.grid.affine)
    (tmp_path / "other.npz").write_text("no archive")
    with pytest.raises(BadInput, match="predictions"):
        load_predictions(tmp_path / "other.npz")


def test_a_split_without_pairs_is_bad_input(stack):
    with pytest.raises(BadInput, match="split elsewhere"):
        detect_lesions(stack, "elsewhere", nothing, "flair", SETTINGS)
