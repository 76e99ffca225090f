from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch

from msdiff.errors import BadInput
from msdiff.sampling.shard import Sampling, rows_of_shard, sample_shard
from msdiff.sampling.shards import Items, load_shard

ITEMS = {"slice": (5, 11), "volume": (3, 5, 11)}


def noise_like(seeds, shape):
    return torch.stack([torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1 for seed in seeds])


def sampling_of(shape, draws=1, rows=7):
    """Noise by the seed, and where it is positive; with several draws these are an item's first axis."""
    batches = []

    def read(part):
        batches.append(len(part))
        return [10 * row + draw for row, draw in zip(part["row"], part["draw"], strict=True)]

    item = shape if draws == 1 else (draws, *shape)
    return Sampling(
        rows=pd.DataFrame({"row": range(rows), "rows": rows}),
        items={"image": Items("scaled", item), "mask": Items("bits", item)},
        read=read,
        sample=lambda seeds: noise_like(seeds, shape),
        finish=lambda _, sampled: {"image": sampled, "mask": sampled > 0},
        draws=draws,
    ), batches


@pytest.mark.parametrize("draws", [1, 3])
@pytest.mark.parametrize("item", ITEMS)
def test_shards_batches_and_their_sizes_change_no_bit_of_an_item_of_any_shape(tmp_path, item, draws):
    sampling, _ = sampling_of(ITEMS[item], draws)
    assert sample_shard(sampling, 0, 1, 100, tmp_path / "whole") == 7 * draws
    whole = load_shard(tmp_path / "whole")
    assert whole.shape("image") == sampling.items["image"].shape
    assert whole.read("mask", slice(None)).shape == (7, *sampling.items["mask"].shape)
    for shard, (batch, of_one_size) in enumerate([(1, False), (2, True), (4, True), (3, False)]):
        sample_shard(sampling, shard, 4, batch, tmp_path / "part", of_one_size)
        part = load_shard(tmp_path / "part")
        assert part.manifest["row"].tolist() == list(range(shard, 7, 4))
        for name in ("image", "mask"):
            np.testing.assert_array_equal(part.stored[name], whole.stored[name][shard::4])
    first = noise_like(range(draws), ITEMS[item]).reshape(sampling.items["image"].shape)
    np.testing.assert_allclose(whole.read("image", 0), first, atol=1.01 / 65535)
    np.testing.assert_array_equal(whole.read("mask", 0), first > 0)


def test_batches_go_on_from_one_row_to_the_next_and_may_be_of_one_size(tmp_path):
    for of_one_size, expected in ((False, [8, 8, 5]), (True, [7, 7, 7])):
        sampling, batches = sampling_of((2, 3), draws=3)
        sample_shard(sampling, 0, 1, 8, tmp_path / "shard", of_one_size)
        assert batches == expected


def test_the_next_batch_is_read_before_one_is_finished(tmp_path):
    sampling, _ = sampling_of((2, 3))
    order = []
    noted = sampling._replace(
        read=lambda part: order.append(f"read {part['row'].iloc[0]}") or sampling.read(part),
        sample=lambda seeds: order.append(f"sample {seeds[0] // 10}") or sampling.sample(seeds),
    )
    sample_shard(noted, 0, 1, 1, tmp_path / "shard")
    for one, following in pairwise(range(7)):
        assert order.index(f"read {one}") < order.index(f"sample {one}")
        assert order.index(f"read {following}") < order.index(f"sample {following}")


def test_a_shard_that_fails_is_not_there(tmp_path):
    sampling, _ = sampling_of((2, 3))
    with pytest.raises(ZeroDivisionError):
        sample_shard(sampling._replace(finish=lambda *_: 1 / 0), 0, 1, 2, tmp_path / "shard")
    assert list(tmp_path.iterdir()) == []


def test_shards_share_the_rows(tmp_path):
    plan = pd.DataFrame({"row": range(30)})
    parts = [rows_of_shard(plan, shard, 4) for shard in range(4)]
    assert [len(part) for part in parts] == [8, 8, 7, 7]
    assert parts[1]["row"].tolist() == list(range(1, 30, 4))
    assert len(rows_of_shard(plan, 30, 31)) == 0
    with pytest.raises(BadInput, match="number from 0 to 3, got 4"):
        rows_of_shard(plan, 4, 4)
