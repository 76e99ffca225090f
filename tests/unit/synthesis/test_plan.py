import numpy as np
import pandas as pd
import pytest

from msdiff.errors import BadInput
from msdiff.settings import check
from msdiff.synthesis import plan as module
from msdiff.synthesis.placement import Placer


def plan(stack, purpose, settings):
    return module.plan_samples(stack, purpose, check(module.PlanSettings, settings))


def test_mass_keeps_to_training_patients_and_never_mixes_a_patient_with_itself(stack, given):
    frame = plan(stack, "mass", given("plan"))
    train = set(stack.scans.loc[stack.scans["split"] == "train", "subject"])
    assert len(frame) == 8
    assert set(frame["baseline_subject"]) | set(frame["mask_subject"]) <= train
    assert (frame["baseline_subject"] != frame["mask_subject"]).all()
    assert (frame["follow_up_row"] == -1).all()
    assert ((frame["slice"] - frame["mask_slice"]).abs() <= 1).all()
    assert frame["seed"].is_unique
    assert list(frame["sample"]) == list(range(8))


def test_a_plan_is_the_same_twice_and_another_with_another_seed(stack, given):
    first = plan(stack, "mass", given("plan"))
    pd.testing.assert_frame_equal(first, plan(stack, "mass", given("plan")))
    assert not first.equals(plan(stack, "mass", given("plan", seed=1)))
    longer = plan(stack, "mass", given("plan", mass__count=12))
    pd.testing.assert_frame_equal(first, longer.head(8))


def test_the_same_patient_may_lend_the_mask(stack, given):
    frame = plan(stack, "mass", given("plan", mass__donor="same_patient"))
    assert (frame["baseline_subject"] == frame["mask_subject"]).all()
    assert set(frame["baseline_subject"]) <= set(stack.scans.loc[stack.scans["split"] == "train", "subject"])


def test_enough_of_the_donors_voxels_found_a_place(stack, given):
    frame = plan(stack, "mass", given("plan"))
    placer = Placer(stack)
    changes = stack.array("change_mask")
    for row in frame.to_dict("records"):
        donor = (changes[row["mask_row"], row["mask_slice"]] > 0).sum()
        assert row["surviving_fraction"] == pytest.approx(placer.mask(row).sum() / donor)
        assert row["surviving_fraction"] >= 0.3


def test_scalars_come_from_the_donor_or_the_placed_mask(stack, given):
    scan = plan(stack, "mass", given("plan"))
    by_row = stack.slices.drop_duplicates("follow_up_row").set_index("follow_up_row")
    np.testing.assert_array_equal(scan["change_mm3"], by_row.loc[scan["mask_row"], "scan_change_mm3"])
    slices = plan(stack, "mass", given("plan", scalars="slice"))
    placer = Placer(stack)
    for row in slices.to_dict("records"):
        assert row["change_mm3"] == pytest.approx(placer.mask(row).sum() * 54)
        assert row["change_count"] == 1


def test_held_out_takes_changed_slices_of_its_split_with_their_own_masks(stack, given):
    frame = plan(stack, "held_out", given("plan"))
    test = set(stack.scans.loc[stack.scans["split"] == "test", "subject"])
    assert set(frame["baseline_subject"]) == test
    assert (frame["follow_up_row"] == frame["mask_row"]).all()
    assert len(frame) == 4
    assert len(plan(stack, "held_out", given("plan", held_out__slices_per_pair=1))) == 2
    row = frame.iloc[0]
    assert stack.array("change_mask")[row["mask_row"], row["mask_slice"]].any()


def test_nothing_that_qualifies_is_bad_input(tmp_path, make_stack, given, stack):
    empty = make_stack(tmp_path / "empty", changes=False)
    for purpose in module.PURPOSES:
        with pytest.raises(BadInput, match="give lesion or change masks"):
            plan(empty, purpose, given("plan"))
    with pytest.raises(BadInput, match="two training patients"):
        plan(make_stack(tmp_path / "one", splits=["train", "test"]), "mass", given("plan"))
    other = make_stack(tmp_path / "none")
    np.save(other.folder / "regions.npy", np.zeros_like(stack.array("regions")))
    with pytest.raises(BadInput, match="expected a donor's lesions to find a place"):
        plan(other, "mass", given("plan"))


def test_change_masks_empty_in_every_training_patient_are_bad_input(tmp_path, make_stack):
    with pytest.raises(BadInput, match="all are empty"):
        module.training_slices(make_stack(tmp_path / "stack", changes=False))


def test_no_training_patient_is_bad_input(tmp_path, make_stack):
    with pytest.raises(BadInput, match="split train"):
        module.training_slices(make_stack(tmp_path / "stack", splits=["test", "test"]))
