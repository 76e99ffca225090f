import json

import numpy as np
import pytest
import torch
from indexed import slab_files

from msdiff.__main__ import main
from msdiff.errors import BadInput, OutOfTime
from msdiff.forecasting import prior as module
from msdiff.forecasting.options import TrainPriorSettings
from msdiff.networks.weights import load_weights
from msdiff.settings import check

CPU = torch.device("cpu")


def train(slabs, settings, folder, minutes=None):
    return module.train_prior(slabs, check(TrainPriorSettings, settings), folder, minutes, CPU)


def test_training_lowers_the_loss(tmp_path, stage_slabs, stage_options):
    longer = stage_options("prior", prior__training__steps=30, prior__training__learning_rate=0.01)
    history = train(stage_slabs, longer, tmp_path).history
    assert history["loss"].iloc[-1] < 0.8 * history["loss"].iloc[0]


def test_as_many_arms_are_null_as_asked(stage_slabs, stage_options):
    task = module.PriorTask(stage_slabs, check(TrainPriorSettings, stage_options("prior")))
    seen = []
    task.compiled = lambda z, logsnr, arm: seen.append(arm) or torch.zeros_like(z)
    batch = task.batch(np.resize(task.indices, 4000), np.random.default_rng(0))
    task.loss(batch, torch.Generator().manual_seed(0))
    null = seen[0] == len(stage_slabs.arms)
    assert abs(null.float().mean() - 0.1) < 0.015
    assert torch.equal(seen[0][~null], batch["arm"][~null])


def test_a_killed_training_ends_as_an_undisturbed_one(tmp_path, stage_slabs, stage_options):
    settings = stage_options("prior", prior__training__micro_batches=2)
    whole = train(stage_slabs, settings, tmp_path / "whole")
    with pytest.raises(OutOfTime):
        train(stage_slabs, settings, tmp_path / "parts", minutes=1e-6)
    parts = train(stage_slabs, settings, tmp_path / "parts")
    assert all(torch.equal(whole.tensors[name], parts.tensors[name]) for name in whole.tensors)


@pytest.mark.parametrize(
    "changes",
    [
        {"prior__generates": ["flair", "net2"]},
        {"prior__training__precision": "bf16", "prior__flip": 0.5},
        {"network__options__cross_attention": 6, "network__options__attention": [False, True]},
    ],
    ids=["image too", "bf16", "transformer"],
)
def test_every_variant_trains(tmp_path, stage_slabs, stage_options, changes):
    trained = train(stage_slabs, stage_options("prior", prior__training__steps=2, **changes), tmp_path)
    assert np.isfinite(trained.history["loss"]).all()


def test_a_changed_set_of_other_patients_trains_nothing_anew(tmp_path, stage_slabs, stage_options):
    settings = stage_options("prior", prior__training__steps=2)

    def checkpoints(**moved):
        patients = stage_slabs.patients
        patients = patients.assign(split=patients["split"].replace(moved))
        train(stage_slabs._replace(patients=patients), settings, tmp_path)
        return len(list(tmp_path.iterdir()))

    assert [checkpoints(), checkpoints(test="validation"), checkpoints(test="train")] == [1, 1, 2]


def test_the_command_writes_weights_that_are_enough(tmp_path, stage_slabs, stage_options):
    paths = {"--checkpoints": "checkpoints", "--weights": "weights.safetensors", "--history": "history.csv"}
    arguments = [part for name, value in paths.items() for part in (name, str(tmp_path / value))]
    settings = json.dumps(stage_options("prior"))
    command = [
        "train-prior",
        "--slabs",
        *slab_files(stage_slabs.folder),
        *arguments,
        "--threads",
        "1",
        "--settings",
        settings,
    ]
    assert main(command) == 0
    tensors, prior = module.load_prior(tmp_path / "weights.safetensors")
    assert prior.sizes == (2, 1, 0, 3)
    assert prior.description["generated"] == ["net2@w096"]
    assert "sub-16" not in prior.description["patients"]
    assert tensors.keys() == load_weights(tmp_path / "weights.safetensors")[0].keys()
    assert (tmp_path / "history.csv").read_text().startswith("step,loss,squared_error,lesion_squared_error")


def test_weights_of_something_else_are_refused(forecaster_path):
    with pytest.raises(BadInput, match=r"expected a lesion_prior's weights, got those of a 'forecaster'.*train-prior"):
        module.load_prior(forecaster_path)
