"""Draws by a denoiser in closed form, and by the commands from trained weights."""

import copy
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from indexed import slab_files

from msdiff.__main__ import main
from msdiff.errors import BadInput
from msdiff.forecasting.sampling import SamplingSettings, forecasts_of
from msdiff.sampling.shard import sample_shard
from msdiff.sampling.shards import Shard, load_shard
from msdiff.settings import check


@pytest.fixture
def write_shard(made_slabs, gaussian, sampling_options, tmp_path):
    """Sample a shard: write_shard(shard, shards, batch, **changes of section draws)."""

    def written(
        shard: int, shards: int, batch: int, forecaster=gaussian, threshold=0.5, of_one_size=False, **changes
    ) -> Shard:
        values = copy.deepcopy(sampling_options) | {"voxel_threshold": threshold}
        values["draws"] |= changes
        out = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        settings = check(SamplingSettings, values)
        sampling = forecasts_of(made_slabs, forecaster, "test", settings)
        sample_shard(sampling, shard, shards, batch, out, of_one_size)
        return load_shard(out)

    return written


def test_shards_and_batches_change_nothing(write_shard):
    whole = write_shard(0, 1, 100)
    assert whole.stored["masks"].shape == (6, 5, 3, 12, 3)
    parts = [write_shard(shard, 4, batch) for shard, batch in enumerate([1, 3, 4, 7])]
    for number, part in enumerate(parts):
        np.testing.assert_array_equal(part.stored["masks"], whole.stored["masks"][number::4])
    joined = pd.concat([part.manifest for part in parts]).sort_values("row", ignore_index=True)
    pd.testing.assert_frame_equal(joined, whole.manifest)


def test_batches_of_one_size_write_no_draw_twice(write_shard, gaussian):
    np.testing.assert_array_equal(
        write_shard(0, 1, 8, of_one_size=True).stored["masks"], write_shard(0, 1, 30).stored["masks"]
    )
    assert [len(noise) for noise in gaussian.noises] == [8, 8, 8, 8, 30]


def test_more_draws_and_fewer_patients_leave_a_draw_as_it_is(write_shard):
    whole, longer, fewer = write_shard(0, 1, 4), write_shard(0, 1, 4, draws=7), write_shard(0, 1, 4, patients=2)
    np.testing.assert_array_equal(longer.stored["masks"][:, :5], whole.stored["masks"])
    kept = whole.manifest["subject"].isin(fewer.manifest["subject"]).to_numpy()
    np.testing.assert_array_equal(fewer.stored["masks"], whole.stored["masks"][kept])
    assert kept.sum() == 2


def test_draws_differ_from_each_other_and_end_at_the_brain(write_shard, made_slabs):
    shard = write_shard(0, 1, 8)
    masks = np.stack([shard.read("masks", place) for place in range(6)])
    assert masks.shape == (6, 5, 3, 12, 20)
    assert len(np.unique(masks.reshape(30, -1), axis=0)) == 30
    assert not masks[..., 0].any()
    assert not masks[..., [0, -1], :].any()
    # The mean rises along x from -1 to 1.
    assert masks[..., -6:-1].mean() > 0.5 > 0.1 > masks[..., 1:6].mean()


def test_a_higher_threshold_leaves_a_part_of_the_mask(write_shard):
    low, high, all_of_the_brain = (
        write_shard(0, 1, 8, threshold=threshold).stored["masks"] for threshold in (0.5, 0.7, 0.0)
    )
    assert not (high & ~low).any()
    assert 0 < np.unpackbits(high).sum() < np.unpackbits(low).sum() < np.unpackbits(all_of_the_brain).sum()


@pytest.mark.parametrize("shared", [True, False])
def test_shared_noise_is_the_same_under_every_arm(write_shard, gaussian, shared):
    shard = write_shard(0, 1, 15, arms="all", shared_noise=shared)
    assert shard.manifest["arm"].tolist()[:3] == ["placebo", "mild_efficacy", "high_efficacy"]
    # A batch is a patient: three arms of five draws.
    assert len(gaussian.noises) == 6
    for noise in gaussian.noises:
        of_arm = noise.reshape(3, 5, -1)
        assert (of_arm[0] == of_arm[1]).all().item() == (of_arm[0] == of_arm[2]).all().item() == shared
    # With the same noise the effect of the arms is seen in every draw.
    masks = np.stack([shard.read("masks", place) for place in range(18)]).reshape(6, 3, 5, -1)
    if shared:
        assert not (masks[:, 1:] & ~masks[:, :-1]).any()
    assert masks[:, 0].sum() > masks[:, 1].sum() > masks[:, 2].sum()


def test_a_shard_tells_where_its_draws_are_from(write_shard):
    forecasts = write_shard(1, 2, 8).manifest
    assert forecasts["row"].tolist() == [1, 3, 5]
    told = {"rows": 6, "purpose": "test", "draws": 5, "seed": 3, "model": "two_sessions", "sampler": "ddim", "steps": 4}
    for column, value in told.items():
        assert set(forecasts[column]) == {value}
    assert {"weights_sha256", "guidance_weight", "voxel_threshold", "msdiff_version"} <= set(forecasts)


def test_a_shard_beyond_the_rows_is_empty(write_shard):
    shard = write_shard(7, 8, 4)
    assert shard.stored["masks"].shape == (0, 5, 3, 12, 3)
    assert shard.manifest.empty


def test_weights_that_do_not_belong_are_refused(write_shard, gaussian):
    for changes, message in [
        ({"arms": ("placebo", "mild_efficacy")}, "slabs of the arms .*weights.safetensors.*got .*high_efficacy"),
        ({"shape": (3, 16, 16)}, r"slabs of the size \(z, y, x\) \[3, 16, 16\], .*got \[3, 12, 20\]"),
        ({"channels": ("flair@w000", "t1w@w000")}, "no channel 't1w@w000'"),
        ({"description": {"model": "pre_treatment", "patients": []}}, "model two_sessions, got those of pre_treatment"),
        (
            {"description": {"model": "two_sessions", "patients": ["sub-pl6"]}},
            "saw no patient of the split test.*sub-pl6",
        ),
    ]:
        other = copy.copy(gaussian)
        vars(other).update(changes)
        with pytest.raises(BadInput, match=message):
            write_shard(0, 1, 4, forecaster=other)


def test_what_is_no_shard_is_told(tmp_path: Path):
    with pytest.raises(BadInput, match=r"expected a shard of samples.*sample-forecasts"):
        load_shard(tmp_path)


@pytest.fixture
def command(stage_slabs, forecaster_path, sampling_options, tmp_path):
    """Run sample-forecasts: command(out, shard, shards, batch, weights); its exit code."""

    def run(out: str, shard: int, shards: int, batch: int, weights=forecaster_path) -> int:
        options = copy.deepcopy(sampling_options) | {"seed": 1}
        options["sampler"] |= {"steps": 2, "guidance_weight": 1.0}
        options["draws"] |= {"split": "train", "draws": 3, "patients": 5}
        named = {"weights": weights, "purpose": "test", "shard": shard, "shards": shards}
        named |= {"batch": batch, "threads": 1, "out": tmp_path / out, "settings": json.dumps(options)}
        slabs = ["--slabs", *slab_files(stage_slabs.folder)]
        return main(["sample-forecasts", *slabs, *(f"--{name}={value}" for name, value in named.items())])

    return run


def test_trained_weights_sample_the_same_in_any_batch_and_shard(command, stage_slabs, tmp_path):
    assert command("whole", 0, 1, 15) == 0
    assert [command(f"{shard:03d}", shard, 2, 4 + shard) for shard in range(2)] == [0, 0]
    whole = load_shard(tmp_path / "whole")
    assert whole.stored["masks"].any()
    for shard in range(2):
        np.testing.assert_array_equal(
            load_shard(tmp_path / f"{shard:03d}").stored["masks"], whole.stored["masks"][shard::2]
        )

    readout = {"opening_voxels": [1, 1, 1], "connectivity": 26, "min_lesion_volume_mm3": 0.0}
    readout |= {"region_overlap_voxels": 1, "region_rule": "overlap"}
    score = ["score-forecasts", "--slabs", str(stage_slabs.folder), "--settings", json.dumps(readout)]
    shards = [str(tmp_path / name) for name in ("000", "001")]
    assert main([*score, "--out", str(tmp_path / "scores"), "--shards", *shards]) == 0
    assert len(pd.read_csv(tmp_path / "scores" / "draws.tsv", sep="\t")) == 15
    assert main([*score, "--out", str(tmp_path / "none"), "--shards", shards[0]]) == 2
    assert not (tmp_path / "none").exists()


def test_weights_of_another_kind_end_with_one_line(command, prior_path, capsys):
    assert command("out", 0, 1, 4, weights=prior_path) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "expected a forecaster's weights" in line
