import json

import numpy as np
import pandas as pd
import pytest
import torch
from indexed import stack_files

from msdiff.__main__ import main
from msdiff.diffusion.sampler import SamplerSettings
from msdiff.errors import BadInput
from msdiff.networks.weights import sha256
from msdiff.sampling.shard import sample_shard
from msdiff.sampling.shards import load_shard
from msdiff.settings import check
from msdiff.synthesis.plan import PlanSettings, plan_samples
from msdiff.synthesis.sampling import read_plan, samples_of

CPU = torch.device("cpu")


@pytest.fixture
def write_shard(stack, generator_path, given, tmp_path):
    sampler = check(SamplerSettings, given("sampler"))

    def written(frame, shard, shards, batch, weights=generator_path):
        out = tmp_path / f"{shard}-{shards}-{batch}"
        sample_shard(samples_of(stack, frame, weights, sampler, CPU), shard, shards, batch, out)
        return load_shard(out)

    return written


@pytest.fixture
def frame(stack, given):
    return plan_samples(stack, "mass", check(PlanSettings, given("plan")))


def test_shards_and_batches_change_nothing(write_shard, frame):
    whole = write_shard(frame, 0, 1, 3)
    parts = [write_shard(frame, shard, 4, 1) for shard in range(4)]
    for number, part in enumerate(parts):
        for name in ("follow_up", "change_mask"):
            np.testing.assert_array_equal(part.stored[name], whole.stored[name][number::4])
    joined = pd.concat([part.manifest for part in parts]).sort_values("sample", ignore_index=True)
    pd.testing.assert_frame_equal(joined, whole.manifest)


def test_follow_ups_are_background_outside_the_brain_and_their_origin_is_told(
    write_shard, frame, stack, generator_path
):
    shard = write_shard(frame, 0, 1, 8)
    brain = np.stack([stack.array("brain_mask")[row.baseline_row, row.slice] for row in frame.itertuples()]) > 0
    follow_up = shard.read("follow_up", slice(None))
    assert (follow_up[~brain] == -1).all()
    assert (np.abs(follow_up) <= 1).all()
    assert follow_up[brain].std() > 0
    assert set(shard.manifest["weights_sha256"]) == {sha256(generator_path)}
    assert set(shard.manifest["sampler"]) == {"dpm_solver_2m"}
    assert {"generator", "steps", "msdiff_version"} <= set(shard.manifest)


def test_sampling_that_fails_leaves_no_shard(write_shard, frame, tmp_path):
    with pytest.raises(IndexError):
        write_shard(frame.assign(baseline_row=10_000), 0, 1, 2)
    assert list(tmp_path.iterdir()) == []


def test_a_held_out_sample_has_its_own_mask_whole(write_shard, stack, given):
    frame = plan_samples(stack, "held_out", check(PlanSettings, given("plan")))
    shard = write_shard(frame, 0, 1, 2)
    for mask, row in zip(shard.read("change_mask", slice(None)), frame.itertuples(), strict=True):
        np.testing.assert_array_equal(mask, stack.array("change_mask")[row.mask_row, row.mask_slice] > 0)


def test_a_plan_with_other_scalars_weights_of_no_generator_and_shards_beyond_are_refused(
    write_shard, frame, detector_path
):
    with pytest.raises(BadInput, match="expected a plan with scalars of the scan"):
        write_shard(frame.assign(scalars="slice"), 0, 1, 2)
    with pytest.raises(BadInput, match="expected a generator's weights, got those of a 'detector'"):
        write_shard(frame, 0, 1, 2, detector_path)
    with pytest.raises(BadInput, match="from 0 to 1, got 2"):
        write_shard(frame, 2, 2, 2)


def test_a_file_that_is_no_plan_is_refused(tmp_path):
    (tmp_path / "plan.tsv").write_text("sample\tseed\n0\t1\n")
    with pytest.raises(BadInput, match="columns baseline_subject"):
        read_plan(tmp_path / "plan.tsv")
    with pytest.raises(BadInput, match="cannot read it"):
        read_plan(tmp_path / "none.tsv")


def test_commands_train_plan_sample_and_score(tmp_path, stack, detector_path, given):
    def run(name, **arguments):
        flags = [str(part) for key, value in arguments.items() for part in (f"--{key}", value)]
        files = stack_files(stack.folder)
        return main([name, "--stack", *(files[:1] if name == "sample-images" else files), *flags])

    weights, history = tmp_path / "weights.safetensors", tmp_path / "history.csv"
    training = {
        "auxiliary": detector_path,
        "checkpoints": tmp_path / "checkpoints",
        "weights": weights,
        "history": history,
        "minutes": 10,
        "threads": 1,
        "settings": json.dumps(given("generator")),
    }
    assert run("train-generator", **(training | {"minutes": 1e-6})) == 75
    assert not weights.exists()
    assert run("train-generator", **training) == 0
    assert list(pd.read_csv(history)["step"]) == [2, 4]
    plan, out = tmp_path / "plan.tsv", tmp_path / "shards/000"
    assert run("plan-samples", purpose="held_out", plan=plan, settings=json.dumps(given("plan"))) == 0
    sampler = json.dumps(given("sampler"))
    assert (
        run(
            "sample-images",
            plan=plan,
            weights=weights,
            shard="000",
            shards=1,
            batch=2,
            threads=1,
            out=out,
            settings=sampler,
        )
        == 0
    )
    assert len(load_shard(out).manifest) == 4
    scoring = json.dumps({"ring_width_mm": 6.0, "blur_sigma_mm": 3.0, "detection_threshold": 0.5})
    scores = tmp_path / "scores.tsv"
    options = {"shards": out, "detector": detector_path, "scores": scores, "settings": scoring, "threads": 1}
    assert run("score-images", **options, keys="variant=complete") == 0
    assert set(pd.read_csv(scores, sep="\t")["variant"]) == {"complete"}
    assert set(pd.read_csv(scores, sep="\t")["generator"]) == {
        "long_ms_diff",
        "copy_baseline",
        "blurred_baseline",
        "noise_floor",
        "paste_lesion",
        "real_follow_up",
    }


@pytest.mark.parametrize("text", ["{", "{}", "[]", '{"generator": "other"}'])
def test_train_generator_refuses_other_settings_in_one_line(tmp_path, stack, detector_path, capsys, text):
    arguments = ["--checkpoints", tmp_path, "--weights", tmp_path / "w", "--history", tmp_path / "h", "--threads", 1]
    arguments += ["--stack", *stack_files(stack.folder), "--auxiliary", detector_path, "--settings", text]
    assert main(["train-generator", *map(str, arguments)]) == 2
    assert capsys.readouterr().err.count("error:") == 1
