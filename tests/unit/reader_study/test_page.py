import base64
import json
import re

import numpy as np
import pytest

from msdiff.errors import BadInput
from msdiff.reader_study.design import StudyExportSettings
from msdiff.reader_study.page import KEY_COLUMNS, make_study
from msdiff.sampling.shards import Items, load_shard
from msdiff.settings import check


def made(stack, shards, settings, **changes):
    return make_study(stack, shards, check(StudyExportSettings, settings | changes))


def data_of(page):
    return json.loads(re.search(r'<script type="application/json" id="study">(.*?)</script>', page, re.DOTALL)[1])


def codes(text, size):
    width, height = size
    bits = np.unpackbits(np.frombuffer(base64.b64decode(text), np.uint8)).reshape(-1, 12)
    return (bits @ (1 << np.arange(11, -1, -1)))[: width * height].reshape(height, width)


def test_the_key_tells_what_every_case_shows(stack, shards, settings):
    study = made(stack, shards, settings)
    data = data_of(study.page)
    assert list(study.key.columns) == KEY_COLUMNS
    assert set(study.key["study"]) == {data["study"]}
    assert len(study.key) == len(data["cases"])
    flair, brains = stack.array("flair").astype(np.float64), stack.array("brain_mask") > 0
    sampled = {shard.manifest["generator"][0]: (shard, shard.read("follow_up", slice(None))) for shard in shards}
    for row, case in zip(study.key.to_dict("records"), data["cases"], strict=True):
        number, first, second = row["slice"], row["baseline_row"], row["follow_up_row"]
        follow_up = flair[second, number]
        if row["kind"] == "synthetic":
            shard, images = sampled[row["generator"]]
            follow_up = images[shard.manifest.query(f"baseline_row == {first} and slice == {number}").index[0]]
        inside = brains[first, number] & brains[second, number]
        for name, image in (("baseline", flair[first, number]), ("follow_up", follow_up)):
            expected = np.where(inside, image, -1.0)[::-1, ::-1]
            shown = codes(case[name], data["size"]) / 4095 * 2 - 1
            # Brain in rows 3 to 20 and columns 2 to 15 of 24 and 20, and two pixels around.
            assert np.allclose(shown, expected[1:23, 2:20], atol=2e-3)
        mask = np.unpackbits(np.frombuffer(base64.b64decode(case["mask"]), np.uint8), count=shown.size)
        expected = (stack.array("change_mask")[second, number] > 0)[::-1, ::-1]
        assert (mask.reshape(shown.shape) == expected[1:23, 2:20]).all()


def test_the_page_holds_nothing_of_the_key(stack, shards, settings):
    study = made(stack, shards, settings)
    page = re.sub(r'"(baseline|follow_up|mask)": "[A-Za-z0-9+/=]*"', "", study.page)
    assert len(page) < 80_000
    assert not re.search(r"sub-|long_ms_diff|other_model|synthetic|\breal\b|generator|_row|\.npy|seed", page)


def test_the_page_asks_for_nothing_outside_itself(stack, shards, settings):
    page = made(stack, shards, settings).page
    assert "default-src 'none'" in page
    assert not re.search(r"https?:|//[a-z]+\.|\bsrc=|@import|url\(", re.sub(r'"[A-Za-z0-9+/=]{40,}"', "", page))
    assert re.findall(r'href="([^"]*)"', page) == ["data:,"]


def test_the_same_settings_give_the_same_bytes_and_others_another_study(stack, shards, settings):
    one, same, other = (made(stack, shards, settings, seed=seed) for seed in (0, 0, 1))
    assert one.page == same.page
    assert one.key.equals(same.key)
    assert one.key["study"][0] != other.key["study"][0]


def test_the_order_of_the_shards_changes_nothing(stack, shards, settings):
    assert made(stack, shards, settings).page == made(stack, shards[::-1], settings).page


def test_both_of_a_slice_differ_in_the_follow_up_alone(stack, shards, settings):
    study = made(stack, shards, settings, both_of_a_slice=True, repeats=0)
    cases = data_of(study.page)["cases"]
    for _, rows in study.key.groupby(["subject", "slice"]):
        shown = [cases[case - 1] for case in rows["case"]]
        assert rows["generator"].tolist() != [""] * 3
        assert len({case["baseline"] for case in shown}) == len({case["mask"] for case in shown}) == 1
        assert len({case["follow_up"] for case in shown}) == 3


def test_the_neurological_convention_mirrors(stack, shards, settings):
    ours, theirs = (
        data_of(made(stack, shards, settings, convention=name).page) for name in ("radiological", "neurological")
    )
    assert (ours["sides"], theirs["sides"]) == (["R", "L"], ["L", "R"])
    first, second = (codes(data["cases"][0]["follow_up"], data["size"]) for data in (ours, theirs))
    assert (first == second[:, ::-1]).all()


def test_a_hundred_cases_of_256_fill_less_than_30_mb():
    from msdiff.reader_study.pictures import packed_image, packed_mask

    full = np.random.default_rng(0).uniform(-1, 1, (256, 256))
    assert 100 * (2 * len(packed_image(full)) + len(packed_mask(full > 0))) < 30e6


def test_samples_without_a_real_follow_up_are_refused(stack, shards, settings):
    shard = shards[0]
    with pytest.raises(BadInput, match="real follow-up, of purpose held_out"):
        made(stack, [shard._replace(manifest=shard.manifest.assign(follow_up_row=-1))], settings)
    coding, (height, width) = shard.items["follow_up"]
    smaller = {**shard.items, "follow_up": Items(coding, (height - 1, width))}
    with pytest.raises(BadInput, match="expected slices of the stack's size"):
        made(stack, [shard._replace(items=smaller)], settings)


def test_a_shard_is_read_from_disk(stack, shard_folders, settings):
    assert made(stack, [load_shard(folder) for folder in shard_folders], settings).key["generator"].nunique() == 3
