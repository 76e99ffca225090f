"""The generator of config.yaml as it is: 118.9 million parameters, bfloat16, parts of a batch, EMA, channels-last."""

import pytest
import torch

from msdiff.config_files import chosen, merged_config
from msdiff.diffusion.sampler import SamplerSettings
from msdiff.networks.detectors import load_detector
from msdiff.settings import check
from msdiff.synthesis.long_ms_diff import task as module
from msdiff.synthesis.long_ms_diff.denoiser import Denoiser
from msdiff.synthesis.long_ms_diff.follow_ups import load_generator
from msdiff.synthesis.long_ms_diff.options import LongMSDiffSettings

PARAMETERS = 118_933_762


@pytest.fixture(scope="module")
def config():
    return chosen(merged_config(size="paper")["synthesis"])


def test_the_network_of_the_config_is_that_of_the_paper(config):
    settings = check(LongMSDiffSettings, config["long_ms_diff"])
    with torch.device("meta"):
        denoiser = Denoiser(settings)
    assert sum(parameter.numel() for parameter in denoiser.parameters()) == PARAMETERS
    assert denoiser.network.settings.in_channels == 6
    assert denoiser.network.settings.out_channels == 2
    assert settings.training.precision == "bf16"
    assert settings.training.ema_decay == 0.9999
    # The largest part of a batch is what docs/long_ms_diff.md tells the memory of.
    assert settings.training.batch_size / settings.training.parts == 16


@pytest.mark.slow
def test_it_trains_a_step_in_parts_and_samples(tmp_path, stack, detector_path, config):
    training = config["long_ms_diff"]["training"] | {"steps": 1, "batch_size": 2, "micro_batches": 2}
    preview = config["long_ms_diff"]["preview"] | {"every": 0}
    settings = config["long_ms_diff"] | {"training": training, "preview": preview}
    cpu = torch.device("cpu")
    task = module.LongMSDiff(stack, check(LongMSDiffSettings, settings), load_detector(detector_path)[0])
    before = {name: tensor.clone() for name, tensor in task.denoiser.state_dict().items()}
    trained = module.train_generator(stack, settings, detector_path, tmp_path, None, cpu)
    moved = [not torch.equal(tensor, before[name]) for name, tensor in trained.tensors.items()]
    assert any(moved)
    assert all(tensor.dtype == torch.float32 and torch.isfinite(tensor).all() for tensor in trained.tensors.values())
    kernels = [tensor for tensor in trained.tensors.values() if tensor.ndim == 4 and min(tensor.shape) > 1]
    assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)
    assert trained.history["loss"].notna().all()
    sample = load_generator(trained.tensors, trained.description, cpu)
    sampler = check(SamplerSettings, config["sampler"] | {"steps": 1})
    sampled = sample(torch.zeros(1, 1, 16, 16), torch.zeros(1, 1, 16, 16), torch.zeros(1, 3), [1], sampler)
    assert torch.isfinite(sampled).all()
