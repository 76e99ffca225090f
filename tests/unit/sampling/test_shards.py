import numpy as np
import pandas as pd
import pytest

from msdiff.errors import BadInput
from msdiff.sampling.shards import Shard, load_shard, map_shard, new_shard, save_shard


def make(samples, height=5, width=11):
    rng = np.random.default_rng(samples)
    images = rng.uniform(-1, 1, (samples, height, width)).astype(np.float32)
    return Shard(images, rng.random(images.shape) < 0.3, pd.DataFrame({"sample": range(samples)}))


def test_a_shard_comes_back_within_a_step_of_its_scale(tmp_path):
    shard = make(7)
    save_shard(shard, tmp_path / "shard")
    found = load_shard(tmp_path / "shard")
    np.testing.assert_allclose(found.follow_up, shard.follow_up, atol=1.01 / 65535)
    np.testing.assert_array_equal(found.change_mask, shard.change_mask)
    pd.testing.assert_frame_equal(found.manifest, shard.manifest)
    assert np.load(tmp_path / "shard/follow_up.npy").dtype == np.uint16
    assert np.load(tmp_path / "shard/change_mask.npy").shape == (7, 5, 2)


def test_parts_written_in_any_order_are_the_shard_written_at_once(tmp_path):
    shard = make(7)
    save_shard(shard, tmp_path / "whole")
    with new_shard(tmp_path / "parts", shard.manifest, 5, 11) as opened:
        assert not (tmp_path / "parts").exists()
        # On the disk, not in memory.
        assert all(isinstance(array, np.memmap) for array in opened)
        for start in (4, 0):
            opened.write(start, shard.follow_up[start : start + 4], shard.change_mask[start : start + 4])
    for name in ("follow_up.npy", "change_mask.npy", "manifest.tsv"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_shard_that_is_not_finished_does_not_exist(tmp_path):
    shard = make(3)

    def interrupted():
        with new_shard(tmp_path / "shard", shard.manifest, 5, 11):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_samples_are_read_one_by_one(tmp_path):
    shard = make(6)
    save_shard(shard, tmp_path / "shard")
    mapped = map_shard(tmp_path / "shard")
    images, masks = mapped.slices(np.array([4, 1]))
    np.testing.assert_allclose(images, shard.follow_up[[4, 1]], atol=1.01 / 65535)
    np.testing.assert_array_equal(masks, shard.change_mask[[4, 1]])


def test_a_folder_that_is_no_shard_is_refused(tmp_path):
    with pytest.raises(BadInput, match="expected a shard"):
        map_shard(tmp_path)
