"""What a CPU cannot show of forecasts: that an accelerator samples and trains the same, and goes on where it was."""

import numpy as np
import pytest
import torch

from msdiff.diffusion.sampler import SamplerSettings
from msdiff.errors import OutOfTime
from msdiff.forecasting.control import train_control
from msdiff.forecasting.forecaster import load
from msdiff.forecasting.options import TrainControlSettings, TrainPriorSettings
from msdiff.forecasting.prior import train_prior
from msdiff.settings import check

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    # Compilers and drivers warn of what is theirs.
    pytest.mark.filterwarnings("ignore"),
]
CPU, GPU = torch.device("cpu"), torch.device("cuda")
# Convolutions in TF32 have ten bits; samples lie in [-1, 1].
TOLERANCE = 0.02


@pytest.fixture(scope="module")
def sample(forecaster_path):
    """A function that samples five masks, or some of them, on a device."""

    def sampled(
        device, rows=slice(None), compile_when="never", backend="ddim", guidance_weight=0.0, waits="default", calls=1
    ):
        forecast = load(forecaster_path, device, compile_when)
        random = torch.Generator().manual_seed(0)
        images = torch.rand(5, len(forecast.channels), *forecast.shape, generator=random) * 2 - 1
        options = {"spacing": "t", "clip": [-1.0, 1.0]} | ({"eta": 0.0} if backend == "ddim" else {})
        choice = {"backend": backend, "options": options}
        chosen = check(SamplerSettings, {"sampler": choice, "steps": 4, "guidance_weight": guidance_weight})
        arms, seeds = (torch.arange(5) % 3)[rows], list(range(5))[rows]
        if device == GPU:
            torch.cuda.set_sync_debug_mode(waits)
        try:
            masks = [forecast(images[rows], arms, seeds, chosen) for _ in range(calls)]
        finally:
            if device == GPU:
                torch.cuda.set_sync_debug_mode("default")
        assert (forecast.denoised.compiled is not None) == (compile_when != "never")
        assert all(mask.device.type == device.type for mask in masks)
        return masks[-1].cpu()

    return sampled


@pytest.mark.parametrize("backend", ["ddim", "ancestral", "dpm_solver_2m"])
@pytest.mark.parametrize("guidance_weight", [0.0, 1.0])
def test_samples_are_those_of_the_cpu(sample, backend, guidance_weight):
    options = {"backend": backend, "guidance_weight": guidance_weight}
    torch.testing.assert_close(sample(GPU, **options), sample(CPU, **options), rtol=0, atol=TOLERANCE)


def test_a_sample_does_not_depend_on_the_others_of_its_batch(sample):
    alone = torch.cat([sample(GPU, slice(place, place + 1)) for place in range(5)])
    torch.testing.assert_close(alone, sample(GPU), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("guidance_weight", [0.0, 1.0])
def test_a_compiled_network_samples_the_same(sample, guidance_weight):
    """Again and again: a recorded graph is replayed from the third call on."""
    compiled = sample(GPU, compile_when="accelerator", guidance_weight=guidance_weight, calls=3)
    torch.testing.assert_close(compiled, sample(GPU, guidance_weight=guidance_weight), rtol=0, atol=TOLERANCE)


def test_no_step_waits_for_the_accelerator(sample):
    assert torch.isfinite(sample(GPU, guidance_weight=1.0, waits="error")).all()


@pytest.mark.parametrize("compile_when", ["never", "accelerator"])
@pytest.mark.parametrize("stage", ["prior", "control"])
def test_a_training_in_bfloat16_is_finite_and_goes_on_where_it_was(
    tmp_path, stage_slabs, stage_options, prior_path, stage, compile_when
):
    chosen = stage_options(stage, **{f"{stage}__training__precision": "bf16"})

    def train(folder, minutes=None):
        where = (tmp_path / folder, minutes, GPU, compile_when)
        if stage == "prior":
            return train_prior(stage_slabs, check(TrainPriorSettings, chosen), *where)
        return train_control(stage_slabs, check(TrainControlSettings, chosen), "two_sessions", prior_path, *where)

    whole = train("whole")
    assert np.isfinite(whole.history["loss"]).all()
    with pytest.raises(OutOfTime):
        train("parts", minutes=1e-6)
    parts = train("parts")
    assert list(parts.history["step"]) == list(whole.history["step"])
    for name, tensor in whole.tensors.items():
        torch.testing.assert_close(parts.tensors[name].float(), tensor.float(), rtol=0, atol=TOLERANCE)
