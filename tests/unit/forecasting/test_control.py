import json

import numpy as np
import pandas as pd
import pytest
import torch
from indexed import slab_files

from msdiff.__main__ import main
from msdiff.errors import BadInput, OutOfTime
from msdiff.forecasting import control as module
from msdiff.forecasting.options import TrainControlSettings
from msdiff.forecasting.prior import load_prior
from msdiff.networks.weights import load_weights, sha256
from msdiff.settings import check

CPU = torch.device("cpu")


def make_task(slabs, settings, prior_path):
    return module.ControlTask(slabs, check(TrainControlSettings, settings), *load_prior(prior_path))


def train(slabs, settings, prior_path, folder, minutes=None):
    settings = check(TrainControlSettings, settings)
    return module.train_control(slabs, settings, "two_sessions", prior_path, folder, minutes, CPU)


def test_it_starts_as_the_prior_and_learns_from_the_images(tmp_path, stage_slabs, stage_options, prior_path):
    task = make_task(stage_slabs, stage_options("control"), prior_path)
    batch = task.batch(np.resize(task.indices, 64), np.random.default_rng(0))

    def loss(images):
        with torch.no_grad():
            return float(task.loss(batch | {"images": images}, torch.Generator().manual_seed(0))["loss"])

    images = batch["images"]
    other = images.roll(1, 0)
    before = loss(images)
    assert loss(other) == before
    settings = stage_options("control", control__training__steps=60, control__training__learning_rate=0.01)
    trained = train(stage_slabs, settings, prior_path, tmp_path)
    task.modules.load_state_dict({name[8:]: value for name, value in trained.tensors.items() if name[:8] == "control."})
    assert loss(images) < 0.9 * before
    assert loss(other) > 1.2 * loss(images)


def test_the_prior_is_the_same_to_the_bit_at_the_end(stage_slabs, prior_path, forecaster_path):
    prior, _ = load_weights(prior_path)
    both, description = load_weights(forecaster_path)
    kept = {name.removeprefix("prior."): value for name, value in both.items() if name.startswith("prior.")}
    assert kept.keys() == prior.keys()
    assert all(torch.equal(value, prior[name]) and value.dtype == prior[name].dtype for name, value in kept.items())
    assert description["prior_sha256"] == sha256(prior_path)
    trained = [value for name, value in both.items() if name.startswith("control.control.controlnet_")]
    assert any(value.any() for value in trained)


def test_only_the_control_net_is_trained(stage_slabs, stage_options, prior_path):
    task = make_task(stage_slabs, stage_options("control"), prior_path)
    frozen = set(map(id, task.network.prior.parameters()))
    assert frozen.isdisjoint(map(id, task.modules.parameters()))
    assert {id(parameter) for parameter in task.network.parameters() if parameter.requires_grad} == set(
        map(id, task.modules.parameters())
    )


def test_arms_and_images_are_dropped_independently(stage_slabs, stage_options, prior_path):
    dropout = {"treatment": 0.3, "images": 0.2}
    task = make_task(stage_slabs, stage_options("control", control__dropout=dropout), prior_path)
    seen = {}

    def embed(images):
        seen["images"] = images
        return images

    task.network.control.embed = embed
    task.compiled = lambda z, logsnr, arm, embedded: seen.update(arm=arm) or torch.zeros_like(z)
    batch = task.batch(np.resize(task.indices, 4000), np.random.default_rng(0))
    task.loss(batch, torch.Generator().manual_seed(0))
    null, black = seen["arm"] == 3, ~seen["images"].flatten(1).any(1)
    assert abs(null.float().mean() - 0.3) < 0.03
    assert abs(black.float().mean() - 0.2) < 0.03
    assert abs((null & black).float().mean() - 0.06) < 0.015
    assert torch.equal(seen["images"][~black], batch["images"][~black])
    assert torch.equal(seen["arm"][~null], batch["arm"][~null])


def test_a_killed_training_ends_as_an_undisturbed_one(tmp_path, stage_slabs, stage_options, prior_path):
    settings = stage_options("control", control__training__micro_batches=2, control__flip=0.5)
    whole = train(stage_slabs, settings, prior_path, tmp_path / "whole")
    with pytest.raises(OutOfTime):
        train(stage_slabs, settings, prior_path, tmp_path / "parts", minutes=1e-6)
    parts = train(stage_slabs, settings, prior_path, tmp_path / "parts")
    assert all(torch.equal(whole.tensors[name], parts.tensors[name]) for name in whole.tensors)


class TestBalanced:
    patients = pd.DataFrame({"subject": [f"sub-{i:02d}" for i in range(40)], "count": [2] * 7 + [0] * 33})

    def test_a_subset_has_as_many_active_as_inactive_patients(self, tmp_path):
        subset, weights = module.balanced(self.patients, "subset", 0, tmp_path)
        assert (subset["count"] > 0).sum() == (subset["count"] == 0).sum() == 7
        assert subset["subject"].is_unique
        assert (weights == 1).all()

    def test_a_subset_follows_from_the_seed(self, tmp_path):
        first, again, other = (module.balanced(self.patients, "subset", seed, tmp_path)[0] for seed in (0, 0, 1))
        assert first.equals(again)
        assert not first.equals(other)

    def test_the_rarer_kind_may_be_the_inactive(self, tmp_path):
        patients = self.patients.assign(count=2 - self.patients["count"])
        subset, _ = module.balanced(patients, "subset", 0, tmp_path)
        assert (subset["count"] > 0).sum() == (subset["count"] == 0).sum() == 7

    def test_weights_make_half_of_the_choices_active(self, tmp_path):
        patients, weights = module.balanced(self.patients, "weights", 0, tmp_path)
        assert patients.equals(self.patients)
        assert weights[patients["count"] > 0].sum() == pytest.approx(0.5)
        assert weights.sum() == pytest.approx(1)

    def test_none_leaves_all_alike(self, tmp_path):
        patients, weights = module.balanced(self.patients, "none", 0, tmp_path)
        assert patients.equals(self.patients)
        assert len(set(weights)) == 1

    @pytest.mark.parametrize("count", [0, 1])
    def test_one_kind_alone_is_refused(self, tmp_path, count):
        with pytest.raises(BadInput, match="expected active and inactive patients"):
            module.balanced(self.patients.assign(count=count), "subset", 0, tmp_path)


def test_slabs_of_another_kind_than_the_priors_are_refused(stage_slabs, stage_options, prior_path):
    other = stage_slabs._replace(arms=["placebo", "mild_efficacy", "other"])
    with pytest.raises(BadInput, match=r"expected slabs with arms .*high_efficacy.*as the prior was trained on"):
        make_task(other, stage_options("control"), prior_path)


def test_the_command_trains_a_model_of_one_session(tmp_path, stage_slabs, stage_options, prior_path):
    paths = {"--checkpoints": "checkpoints", "--weights": "weights.safetensors", "--history": "history.csv"}
    arguments = [part for name, value in paths.items() for part in (name, str(tmp_path / value))]
    settings = json.dumps(stage_options("control", model__sessions=["w000"]))
    command = [
        "train-control",
        "--slabs",
        *slab_files(stage_slabs.folder),
        "--prior",
        str(prior_path),
        "--model",
        "before",
    ]
    assert main([*command, *arguments, "--threads", "1", "--settings", settings]) == 0
    _, description = load_weights(tmp_path / "weights.safetensors")
    assert description["model"] == "before"
    assert description["channels"] == ["flair@w000", "lesion_mask@w000"]
    # Both stages' patients, of whom the subset is a part.
    assert len(description["patients"]) == 16
