"""The benchmark of sampling: what it counts, and that both ways give the same images."""

import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch

from msdiff.synthesis.long_ms_diff.follow_ups import FollowUpSampler

ROOT = Path(__file__).parents[3]
CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def path():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    yield
    sys.path.remove(str(ROOT / "benchmarks"))
    sys.modules.pop("sampling", None)


def test_the_networks_operations_are_counted_as_by_hand():
    sampling = import_module("sampling")
    # 249 billion multiplications, each with an addition; 149 PFLOP for 15,000 follow-ups in 20 steps.
    flops = sampling.flops_of_slice(sampling.generator("paper"), 256)
    assert flops == pytest.approx(2 * 249e9, rel=0.001)
    assert 15_000 * 20 * flops == pytest.approx(149.4e15, rel=0.001)


def test_both_sample_the_same_images_by_ddim():
    sampling = import_module("sampling")
    settings = sampling.generator("demo")
    torch.manual_seed(0)
    denoiser = sampling.Denoiser(settings).eval()
    torch.nn.init.normal_(denoiser.last, std=0.02)
    sample, inputs = FollowUpSampler(denoiser, sampling.STATISTICS, settings, CPU), sampling.follow_up_inputs(2, 32)
    theirs = sampling.monai(denoiser.network.unet, sample, inputs, sampling.DDIMScheduler, 5)()
    ours = sampling.ours(sample, inputs, "ddim", 5)()
    assert ours.std() > 0.1
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
