import numpy as np
import pandas as pd
import pytest
from indexed import stack_files

from msdiff.__main__ import main
from msdiff.detection.mixes import MIX_COLUMNS, MixSettings, load_mix, mix_slices, parse_mix
from msdiff.errors import BadInput

BY_SLICE = MixSettings(unit="slice", mode="add")
BY_POSITIVE = MixSettings(unit="positive_slice", mode="add")


def kinds(table):
    return [int((table["kind"] == kind).sum()) for kind in ("real", "synthetic")]


def test_real_only_needs_no_shards(stack):
    train = stack.slices[stack.slices["split"] == "train"]
    assert kinds(mix_slices(stack, "1-0", [], BY_SLICE, 0)) == [len(train), 0]
    positive = mix_slices(stack, "1-0", [], BY_POSITIVE, 0)
    assert kinds(positive) == [int((train["change_voxels"] > 0).sum()), 0]
    assert list(positive.columns) == MIX_COLUMNS


@pytest.mark.parametrize(("mix", "ratio"), [("1-1", 1), ("1-2", 2), ("2-1", 0.5)])
def test_the_ratio_holds_by_unit(stack, shards, mix, ratio):
    real, synthetic = kinds(mix_slices(stack, mix, shards, BY_SLICE, 0))
    assert synthetic == round(real * ratio)


@pytest.mark.parametrize("unit", ["slice", "positive_slice", "patient"])
def test_synthetic_only_holds_the_synthetic_slices_of_one_to_one(stack, shards, unit):
    settings = MixSettings(unit=unit, mode="add")
    n_real = kinds(mix_slices(stack, "1-0", [], settings, 3))[0]
    alone, joined = (mix_slices(stack, mix, shards, settings, 3) for mix in ("0-1", "1-1"))
    assert kinds(alone) == [0, n_real]
    pd.testing.assert_frame_equal(alone, joined[joined["kind"] == "synthetic"].reset_index(drop=True))


@pytest.mark.parametrize("unit", ["slice", "patient"])
def test_replacing_every_real_slice_keeps_their_number(stack, shards, unit):
    settings = MixSettings(unit=unit, mode="replace")
    n_real = kinds(mix_slices(stack, "1-0", [], settings, 0))[0]
    alone = mix_slices(stack, "0-1", shards, settings, 0)
    assert kinds(alone) == [0, n_real]
    mixed = mix_slices(stack, "1-1", shards, settings, 0)
    mixed = mixed[mixed["kind"] == "synthetic"]
    if unit == "slice":
        pd.testing.assert_frame_equal(alone.iloc[: len(mixed)], mixed.reset_index(drop=True))


def test_synthetic_only_may_be_a_multiple(stack, shards):
    real, synthetic = (mix_slices(stack, mix, shards, BY_SLICE, 0) for mix in ("1-0", "0-2"))
    assert kinds(synthetic) == [0, 2 * len(real)]


def test_real_slices_keep_their_order(stack, shards):
    real = mix_slices(stack, "1-0", [], BY_SLICE, 5)
    mixed = mix_slices(stack, "1-1", shards, BY_SLICE, 5)
    pd.testing.assert_frame_equal(mixed.iloc[: len(real)], real)


def test_synthetic_slices_name_their_baseline_and_place(stack, shards):
    table = mix_slices(stack, "1-1", shards, BY_POSITIVE, 0)
    synthetic = table[table["kind"] == "synthetic"]
    # Only the first shard holds change.
    assert set(synthetic["shard"]) == {str(shards[0])}
    assert not synthetic.duplicated(["shard", "index"]).any()
    manifest = pd.read_csv(shards[0] / "manifest.tsv", sep="\t").iloc[synthetic["index"]]
    np.testing.assert_array_equal(manifest["baseline_row"], synthetic["baseline_row"])
    np.testing.assert_array_equal(manifest["slice"], synthetic["slice"])
    assert (synthetic["follow_up_row"] == -1).all()


def test_mixes_of_one_seed_are_nested_and_of_two_differ(stack, shards):
    one, two = (mix_slices(stack, mix, shards, BY_SLICE, 0) for mix in ("1-1", "1-2"))
    pd.testing.assert_frame_equal(one, two.iloc[: len(one)])
    other = mix_slices(stack, "1-1", shards, BY_SLICE, 1)
    assert not one.equals(other)
    pd.testing.assert_frame_equal(one, mix_slices(stack, "1-1", shards, BY_SLICE, 0))


def test_replace_keeps_the_number_of_slices(stack, shards):
    settings = MixSettings(unit="slice", mode="replace")
    whole = sum(kinds(mix_slices(stack, "1-0", [], settings, 0)))
    real, synthetic = kinds(mix_slices(stack, "1-3", shards, settings, 0))
    assert (real, synthetic) == (round(whole / 4), whole - round(whole / 4))


def test_by_patient_the_ratio_holds_in_every_patient(stack, shards):
    table = mix_slices(stack, "1-2", shards, MixSettings(unit="patient", mode="add"), 0)
    counts = table.groupby(["subject", "kind"]).size().unstack()
    np.testing.assert_array_equal(counts["synthetic"], 2 * counts["real"])


def test_only_training_patients_are_listed(stack, shards):
    table = mix_slices(stack, "1-2", shards, BY_SLICE, 0)
    train = set(stack.slices.loc[stack.slices["split"] == "train", "subject"])
    assert set(table["subject"]) <= train


def test_too_few_follow_ups_say_how_many(stack, shards):
    with pytest.raises(BadInput, match=r"expected at least \d+ synthetic slices in the shards, got \d+"):
        mix_slices(stack, "1-3", shards, BY_SLICE, 0)
    with pytest.raises(BadInput, match=r"expected \d+ synthetic follow-ups on the baseline of sub-0000, got \d+"):
        mix_slices(stack, "1-3", shards, MixSettings(unit="patient", mode="add"), 0)


def test_a_mix_names_its_parts():
    assert parse_mix("0-1") == (0, 1)
    assert parse_mix("10-3") == (10, 3)


@pytest.mark.parametrize("mix", ["1:2", "0-0", "1-", "-1-2", "one-two", "1.5-1"])
def test_a_mix_is_two_whole_numbers(mix):
    with pytest.raises(BadInput, match="mix: expected"):
        parse_mix(mix)


def test_no_change_in_any_training_patient_is_bad_input(stack):
    silent = stack._replace(slices=stack.slices.assign(change_voxels=0))
    with pytest.raises(BadInput, match="every change mask is empty"):
        mix_slices(silent, "1-0", [], BY_POSITIVE, 0)
    with pytest.raises(BadInput, match="split train"):
        mix_slices(stack._replace(slices=stack.slices.assign(split="test")), "1-0", [], BY_SLICE, 0)


def test_the_command_writes_what_load_mix_reads(stack, shards, tmp_path):
    out = tmp_path / "1-1.tsv"
    arguments = ["--stack", *stack_files(stack.folder), "--mix", "1-1", "--seed", "0", "--out", str(out)]
    arguments += ["--shards", *map(str, shards), "--settings", BY_SLICE.model_dump_json()]
    assert main(["mix-slices", *arguments]) == 0
    pd.testing.assert_frame_equal(load_mix(out), mix_slices(stack, "1-1", shards, BY_SLICE, 0))
    for text in ("", "kind\tslice\nreal\t1\n"):
        out.write_text(text)
        with pytest.raises(BadInput, match="expected"):
            load_mix(out)
