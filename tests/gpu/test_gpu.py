"""What a CPU cannot show: that an accelerator samples and trains the same, and goes on where it was."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from msdiff.diffusion.sampler import SamplerSettings
from msdiff.errors import OutOfTime
from msdiff.networks.weights import load_weights
from msdiff.sampling.shard import sample_shard
from msdiff.sampling.shards import load_shard
from msdiff.settings import check
from msdiff.synthesis.long_ms_diff.follow_ups import load_generator
from msdiff.synthesis.long_ms_diff.task import train_generator
from msdiff.synthesis.plan import PlanSettings, plan_samples
from msdiff.synthesis.sampling import samples_of

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    # Compilers and drivers warn of what is theirs.
    pytest.mark.filterwarnings("ignore"),
]
CPU, GPU = torch.device("cpu"), torch.device("cuda")
# Convolutions in TF32 have ten bits; images lie in [-1, 1].
TOLERANCE = 0.02


@pytest.fixture(scope="module")
def sample(generator_path, given):
    """A function that makes five samples, or some of them, on a device."""
    random = np.random.default_rng(0)
    baseline = torch.from_numpy(random.uniform(-1, 1, (5, 1, 16, 16)).astype(np.float32))
    mask = torch.from_numpy((random.random((5, 1, 16, 16)) < 0.05).astype(np.float32))
    scalars = torch.tensor([[100.0, 2.0, 1.0]]).repeat(5, 1)

    def sampled(
        device, rows=slice(None), compile_when="never", backend="dpm_solver_2m", guidance_weight=0.0, waits="default"
    ):
        tensors, description = load_weights(generator_path)
        loaded = load_generator(tensors, description, device, compile_when)
        choice = {"backend": backend, "options": {"spacing": "t", "clip": [-1.0, 1.0]}}
        settings = check(SamplerSettings, given("sampler", sampler=choice, steps=4, guidance_weight=guidance_weight))
        if device == GPU:
            torch.cuda.set_sync_debug_mode(waits)
        try:
            images = loaded(baseline[rows], mask[rows], scalars[rows], list(range(5))[rows], settings)
        finally:
            if device == GPU:
                torch.cuda.set_sync_debug_mode("default")
        assert images.device.type == device.type
        assert (loaded.denoised.compiled is not None) == (compile_when != "never")
        return images.cpu()

    return sampled


@pytest.mark.parametrize("backend", ["dpm_solver_2m", "ancestral"])
@pytest.mark.parametrize("guidance_weight", [0.0, 1.0])
def test_samples_are_those_of_the_cpu(sample, backend, guidance_weight):
    options = {"backend": backend, "guidance_weight": guidance_weight}
    torch.testing.assert_close(sample(GPU, **options), sample(CPU, **options), rtol=0, atol=TOLERANCE)


def test_a_sample_does_not_depend_on_the_others_of_its_batch(sample):
    alone = torch.cat([sample(GPU, slice(place, place + 1)) for place in range(5)])
    torch.testing.assert_close(alone, sample(GPU), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("guidance_weight", [0.0, 1.0])
def test_a_compiled_network_samples_the_same(sample, guidance_weight):
    compiled = sample(GPU, compile_when="accelerator", guidance_weight=guidance_weight)
    torch.testing.assert_close(compiled, sample(GPU, guidance_weight=guidance_weight), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("backend", ["dpm_solver_2m", "ancestral"])
def test_no_step_waits_for_the_accelerator(sample, backend):
    assert torch.isfinite(sample(GPU, backend=backend, waits="error")).all()


@pytest.mark.parametrize("compile_when", ["never", "accelerator"])
def test_a_shard_is_that_of_the_cpu(tmp_path, stack, generator_path, given, compile_when):
    plan = plan_samples(stack, "mass", check(PlanSettings, given("plan")))
    sampler = check(SamplerSettings, given("sampler"))
    for device in (CPU, GPU):
        out = tmp_path / device.type
        sampling = samples_of(stack, plan, generator_path, sampler, device, compile_when)
        assert sample_shard(sampling, 0, 1, 3, out, device.type != "cpu") == 8
    ours, theirs = load_shard(tmp_path / "cuda"), load_shard(tmp_path / "cpu")
    np.testing.assert_array_equal(*(shard.read("change_mask", slice(None)) for shard in (ours, theirs)))
    np.testing.assert_allclose(*(shard.read("follow_up", slice(None)) for shard in (ours, theirs)), atol=TOLERANCE)
    pd.testing.assert_frame_equal(ours.manifest, theirs.manifest)


@pytest.mark.parametrize("compile_when", ["never", "accelerator"])
def test_a_training_in_bfloat16_is_finite_and_goes_on_where_it_was(tmp_path, stack, detector_path, given, compile_when):
    settings = given("generator", training__precision="bf16")

    def train(folder, minutes=None):
        return train_generator(stack, settings, detector_path, tmp_path / folder, minutes, GPU, compile_when)

    whole = train("whole")
    assert np.isfinite(whole.history["loss"]).all()
    with pytest.raises(OutOfTime):
        train("parts", minutes=1e-6)
    parts = train("parts")
    assert list(parts.history["step"]) == list(whole.history["step"])
    for name, tensor in whole.tensors.items():
        torch.testing.assert_close(parts.tensors[name].float(), tensor.float(), rtol=0, atol=TOLERANCE)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two CUDA devices")
def test_two_gpus_train_as_one(tmp_path, stack, detector_path, given):
    settings = json.dumps(given("generator", training__micro_batches=2))
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        paths = {name: folder / name for name in ("checkpoints", "weights", "history")}
        arguments = {"stack": stack.folder, "auxiliary": detector_path, "settings": settings, **paths}
        arguments |= {"threads": 2, "processes": processes}
        flags = [str(part) for name, value in arguments.items() for part in (f"--{name}", value)]
        subprocess.run([sys.executable, "-m", "msdiff", "train-generator", *flags], check=True)
    one, two = (load_weights(tmp_path / str(processes) / "weights")[0] for processes in (1, 2))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=0, atol=1e-3)
