import shutil

import numpy as np
import pytest
import torch

from msdiff.diffusion.sampler import SamplerSettings
from msdiff.networks.weights import load_weights
from msdiff.sampling import denoised
from msdiff.settings import check
from msdiff.synthesis.long_ms_diff import follow_ups as module

CPU = torch.device("cpu")


@pytest.fixture
def sampled(generator_path, given):
    """Follow-ups of five samples with a guidance weight, from a sampler."""
    random = np.random.default_rng(0)
    baseline = torch.from_numpy(random.uniform(-1, 1, (5, 1, 16, 16)).astype(np.float32))
    mask = torch.from_numpy((random.random((5, 1, 16, 16)) < 0.05).astype(np.float32))
    scalars = torch.tensor([[100.0, 2.0, 1.0]]).repeat(5, 1)

    def sample_rows(compile_when="never", guidance_weight=0.0, rows=slice(None), steps=3):
        tensors, description = load_weights(generator_path)
        loaded = module.load_generator(tensors, description, CPU, compile_when)
        settings = check(SamplerSettings, given("sampler", guidance_weight=guidance_weight, steps=steps))
        places = list(range(5))[rows]
        return loaded(baseline[rows], mask[rows], scalars[rows], [7 + place for place in places], settings)

    return sample_rows


@pytest.mark.parametrize("weight", [0.0, 1.5])
def test_a_sample_has_the_same_bits_alone_and_among_others_guided_or_not(sampled, weight):
    together = sampled(guidance_weight=weight)
    alone = [sampled(guidance_weight=weight, rows=slice(place, place + 1)) for place in range(5)]
    assert torch.equal(torch.cat(alone), together)


def test_guidance_takes_both_halves_in_one_batch(sampled, monkeypatch):
    calls = []

    def watch(network, size, *inputs):
        calls.append(len(inputs[0]))
        return whole(network, size, *inputs)

    whole = denoised.in_batches
    monkeypatch.setattr(denoised, "in_batches", watch)
    sampled(guidance_weight=1.0)
    assert calls == [10, 10, 10]


def test_where_the_compiler_fails_the_plain_network_samples_the_same(sampled, monkeypatch, caplog):
    def broken(*arguments, **options):
        def call(*inputs):
            raise RuntimeError("no compiler")

        return call

    plain = sampled()
    monkeypatch.setattr(torch, "compile", broken)
    assert torch.equal(sampled("always"), plain)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_compiled_network_with_another_result_is_not_used(sampled, monkeypatch, caplog):
    plain = sampled()
    monkeypatch.setattr(torch, "compile", lambda forward, **options: lambda *inputs: forward(*inputs) + 1)
    assert torch.equal(sampled("always"), plain)
    assert "another than the plain" in caplog.text


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_network_samples_the_same_within_rounding(sampled):
    for weight in (0.0, 1.5):
        torch.testing.assert_close(sampled("always", weight), sampled("never", weight), rtol=1e-3, atol=1e-3)
