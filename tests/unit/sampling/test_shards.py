import json

import numpy as np
import pandas as pd
import pytest

from msdiff.errors import BadInput
from msdiff.images import axis_aligned_grid
from msdiff.sampling.shards import Items, joined, load_shard, load_slices, new_shard, save_shard
from msdiff.stack.reading import Stack

SHAPES = {"slice": (5, 11), "volume": (3, 5, 11), "draws of a slab": (2, 3, 5, 11)}


def make(items, shape=(5, 11)):
    rng = np.random.default_rng(items)
    images = rng.uniform(-1, 1, (items, *shape)).astype(np.float32)
    return pd.DataFrame({"sample": range(items)}), {"follow_up": images, "change_mask": rng.random(images.shape) < 0.3}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_items_of_any_shape_come_back_within_a_step_of_their_scale(tmp_path, shape):
    manifest, values = make(7, shape)
    found = save_shard(tmp_path / "shard", manifest, **values)
    assert found.shape("follow_up") == found.shape("change_mask") == shape
    np.testing.assert_allclose(found.read("follow_up", slice(None)), values["follow_up"], atol=1.01 / 65535)
    np.testing.assert_array_equal(found.read("change_mask", slice(None)), values["change_mask"])
    pd.testing.assert_frame_equal(found.manifest, manifest)
    assert np.load(tmp_path / "shard/follow_up.npy").dtype == np.uint16
    assert np.load(tmp_path / "shard/change_mask.npy").shape == (7, *shape[:-1], 2)


def test_parts_written_in_any_order_are_the_shard_written_at_once(tmp_path):
    manifest, values = make(7)
    save_shard(tmp_path / "whole", manifest, **values)
    items = {"follow_up": Items("scaled", (5, 11)), "change_mask": Items("bits", (5, 11))}
    with new_shard(tmp_path / "parts", manifest, items) as opened:
        assert not (tmp_path / "parts").exists()
        # On the disk, not in memory.
        assert all(isinstance(array, np.memmap) for array in opened.stored.values())
        for places in (np.arange(4, 7), np.arange(4)):
            opened.write(places, {name: array[places] for name, array in values.items()})
    for name in ("follow_up.npy", "change_mask.npy", "manifest.tsv", "arrays.json"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_shard_that_is_not_finished_does_not_exist(tmp_path):
    def interrupted():
        with new_shard(tmp_path / "shard", make(3)[0], {"mask": Items("bits", (5, 11))}):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_items_are_read_one_by_one(tmp_path):
    manifest, values = make(6)
    shard = save_shard(tmp_path / "shard", manifest, **values)
    assert all(isinstance(array, np.memmap) for array in shard.stored.values())
    for index in (np.array([4, 1]), 3, slice(2, 4)):
        np.testing.assert_allclose(shard.read("follow_up", index), values["follow_up"][index], atol=1.01 / 65535)
        np.testing.assert_array_equal(shard.read("change_mask", index), values["change_mask"][index])


def test_a_shard_without_items_keeps_their_shapes(tmp_path):
    shard = save_shard(tmp_path / "shard", *make(0)[:1], **make(0)[1])
    assert shard.manifest.empty
    assert shard.shape("change_mask") == (5, 11)
    assert shard.read("change_mask", slice(None)).shape == (0, 5, 11)


def test_volumes_are_read_as_their_slices_with_brain(tmp_path):
    brain = np.zeros((2, 3, 5, 11), np.uint8)
    brain[0, 1:, 2, 2] = brain[1, 0, 2, 2] = 1
    np.save(tmp_path / "brain_mask.npy", brain)
    stack = Stack(tmp_path, axis_aligned_grid((11, 5, 3), (1.0, 1.0, 3.0), (0.0, 0.0, 0.0)), None, None)
    manifest, values = make(3, (3, 5, 11))
    manifest = manifest.assign(baseline_row=[0, 1, 0], slice=-1, mask_slice=-1)
    shard = save_shard(tmp_path / "volumes", manifest, **values)
    slices = load_slices(tmp_path / "volumes", stack)
    places = [(0, 1), (0, 2), (1, 0), (2, 1), (2, 2)]
    assert list(zip(slices.manifest["sample"], slices.manifest["slice"], strict=True)) == places
    assert slices.manifest["mask_slice"].equals(slices.manifest["slice"])
    assert slices.shape("follow_up") == (5, 11)
    for name in values:
        volumes = shard.read(name, slice(None))
        expected = np.stack([volumes[place] for place in places])
        np.testing.assert_array_equal(slices.read(name, slice(None)), expected)
        np.testing.assert_array_equal(slices.read(name, 3), expected[3])
        np.testing.assert_array_equal(slices.read(name, np.array([4, 0])), expected[[4, 0]])
    manifest, values = make(3)
    save_shard(tmp_path / "slices", manifest, **values)
    assert load_slices(tmp_path / "slices", stack).manifest.equals(manifest)
    save_shard(tmp_path / "others", *make(1, (4, 5, 11))[:1], **make(1, (4, 5, 11))[1])
    with pytest.raises(BadInput, match="expected volumes of the stack's 3 slices, got 4"):
        load_slices(tmp_path / "others", stack)


def test_a_folder_that_is_no_shard_or_a_broken_one_is_refused(tmp_path):
    with pytest.raises(BadInput, match="expected a shard"):
        load_shard(tmp_path)
    manifest, values = make(4)
    folder = tmp_path / "shard"
    save_shard(folder, manifest, **values)
    manifest.head(3).to_csv(folder / "manifest.tsv", sep="\t", index=False)
    with pytest.raises(BadInput, match=r"shard: expected a shard.*follow_up.npy: expected \(3, 5, 11\), got uint16"):
        load_shard(folder)
    save_shard(folder, manifest, **values)
    np.save(folder / "change_mask.npy", values["change_mask"])
    with pytest.raises(BadInput, match=r"change_mask.npy: expected \(4, 5, 2\), got bool"):
        load_shard(folder)
    for text in ("{", "[]", json.dumps({"follow_up": {"coding": "os:system", "shape": [5, 11]}})):
        save_shard(folder, manifest, **values)
        (folder / "arrays.json").write_text(text)
        with pytest.raises(BadInput, match="expected a shard"):
            load_shard(folder)


def test_an_array_that_a_shard_has_not_is_told(tmp_path):
    manifest, values = make(2)
    shard = save_shard(tmp_path / "shard", manifest, masks=values["change_mask"])
    with pytest.raises(BadInput, match="expected a shard with follow_up, got one of masks"):
        shard.read("follow_up", 0)


def test_all_rows_of_one_run_are_joined_and_others_are_told(tmp_path):
    table = pd.DataFrame({"row": range(5), "rows": 5, "purpose": "test", "steps": 4})
    masks = np.zeros((5, 2, 3), bool)

    def shard(name, rows):
        return save_shard(tmp_path / name, rows, masks=masks[: len(rows)])

    even, odd = shard("even", table[::2]), shard("odd", table[1::2])
    found = joined([odd, even], ["steps"])
    places = found[["row", "shard", "place"]].to_numpy().tolist()
    assert places == [
        [0, 1, 0],
        [1, 0, 0],
        [2, 1, 1],
        [3, 0, 1],
        [4, 1, 2],
    ]
    with pytest.raises(BadInput, match="all 5 rows of test, each once; row 1 is missing"):
        joined([even], ["steps"])
    with pytest.raises(BadInput, match="got 8, some twice"):
        joined([even, odd, even], ["steps"])
    with pytest.raises(BadInput, match=r"other: expected the steps of .*even, 4, got 5"):
        joined([even, shard("other", table[1::2].assign(steps=5))], ["steps"])
    with pytest.raises(BadInput, match="shards without any"):
        joined([shard("none", table[:0])], ["steps"])
