import numpy as np
import pandas as pd
import pytest

from msdiff.errors import BadInput
from msdiff.settings import check
from msdiff.synthesis import plan as module


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


def test_a_placed_mask_lies_in_the_brain_near_white_matter_and_off_old_lesions(stack):
    placer = module.Placer(stack)
    allowed = placer.allowed(0, 0, 3.0)
    expected = np.zeros((16, 16), dtype=bool)
    expected[4:12, 4:12] = True
    # One voxel of 3 mm beyond the white matter, edge to edge.
    expected[3, 4:12] = expected[12, 4:12] = expected[4:12, 3] = expected[4:12, 12] = True
    expected[5:7, 5:7] = False
    np.testing.assert_array_equal(allowed, expected)
    placed = placer.place(0, 0, 3, 0, 3.0)
    np.testing.assert_array_equal(placed, expected & (stack.array("change_mask")[3, 0] > 0))


def test_without_lesion_masks_old_lesions_are_not_known(tmp_path, make_stack):
    placer = module.Placer(make_stack(tmp_path / "stack", lesions=False))
    assert placer.allowed(0, 0, 0.0).sum() == 64


def test_scalars_come_from_the_donor_or_the_placed_mask(stack, given):
    scan = plan(stack, "mass", given("plan"))
    by_row = stack.slices.drop_duplicates("follow_up_row").set_index("follow_up_row")
    np.testing.assert_array_equal(scan["change_mm3"], by_row.loc[scan["mask_row"], "scan_change_mm3"])
    slices = plan(stack, "mass", given("plan", scalars="slice"))
    placer = module.Placer(stack)
    for row in slices.itertuples():
        mask = placer.place(row.baseline_row, row.slice, row.mask_row, row.mask_slice, 3.0)
        assert row.change_mm3 == pytest.approx(mask.sum() * 54)
        assert row.change_count == 1


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
    with pytest.raises(BadInput, match="expected a donor's mask to fit"):
        plan(other, "mass", given("plan"))
