import pytest
import torch
from torch import nn

from msdiff.diffusion.objective import Objective, ObjectiveSettings
from msdiff.diffusion.sampler import SamplerSettings, load_sampler, noise_like, sample
from msdiff.diffusion.variance import HybridSettings
from msdiff.networks.conditional_unet import ConditionalUNet, ConditionalUNetSettings
from msdiff.sampling.denoised import Denoised
from msdiff.settings import check

CPU = torch.device("cpu")
OBJECTIVE = {
    "prediction": "v",
    "schedule": {"backend": "cosine", "options": {"offset": 0.008, "logsnr_min": -20.0, "logsnr_max": 20.0}},
    "weight": {"backend": "unit", "options": {}},
    "error": "l2",
    "lesion_factor": 1.0,
    "loss_scale": 1.0,
}
NETWORK = {"channels": [8, 8], "residual_blocks": 1, "attention": [False, False], "head_channels": 8, "norm_groups": 4}
SHAPES = {2: (1, 6, 9), 3: (1, 4, 6, 5)}
SEEDS = [3, 4, 5, 6, 7]


def settings(weight=0.0, backend="ddim", **options):
    choice = {"backend": backend, "options": {"spacing": "t", "clip": None} | options}
    return check(SamplerSettings, {"sampler": choice, "steps": 3, "guidance_weight": weight})


def denoised(dims=2, hybrid=None):
    torch.manual_seed(0)
    objective = Objective(check(ObjectiveSettings, OBJECTIVE), hybrid)
    sizes = NETWORK | {"in_channels": 3, "out_channels": objective.outputs(1)}
    network = ConditionalUNet(check(ConditionalUNetSettings, sizes), dims).eval()
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.05)
    return Denoised(network, objective, CPU, precision="bf16", cpu_batch=4)


def conditions(dims):
    known = torch.randn(len(SEEDS), 2, *SHAPES[dims][1:], generator=torch.Generator().manual_seed(1))
    return known, torch.zeros_like(known)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("weight", [0.0, 1.5])
def test_a_slice_or_volume_has_the_same_bits_alone_and_among_others(dims, weight):
    ready, (known, unknown) = denoised(dims), conditions(dims)
    together = ready(SHAPES[dims], SEEDS, settings(weight, eta=0.5), [known], [unknown])
    assert together.shape == (len(SEEDS), *SHAPES[dims])
    for place in (0, 4):
        row = slice(place, place + 1)
        alone = ready(SHAPES[dims], SEEDS[row], settings(weight, eta=0.5), [known[row]], [unknown[row]])
        assert torch.equal(alone[0], together[place])


def test_guidance_moves_away_from_the_unknown():
    ready, (known, unknown) = denoised(), conditions(2)
    network, objective = ready.network, ready.objective

    def denoise(z, logsnr):
        answers = [objective.answer(network(z, logsnr, given), z, logsnr).x_hat for given in (known, unknown)]
        return 2.5 * answers[0] - 1.5 * answers[1]

    chosen = settings(1.5, eta=0.0)
    noise = noise_like(SHAPES[2], SEEDS)
    expected = sample(denoise, noise, objective.schedule, load_sampler(chosen.sampler, chosen.steps), SEEDS)
    found = ready(SHAPES[2], SEEDS, chosen, [known], [unknown])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(found, ready(SHAPES[2], SEEDS, settings(eta=0.0), [known], [unknown]))


def test_whoever_watches_sees_every_estimate():
    ready, (known, unknown), seen = denoised(), conditions(2), []
    found = ready(
        SHAPES[2], SEEDS, settings(eta=0.5), [known], [unknown], lambda step, *tensors: seen.append((step, tensors[-1]))
    )
    assert [step for step, _ in seen] == [0, 1, 2]
    assert torch.equal(seen[-1][1], found)


def test_a_learned_variance_changes_the_noise_of_the_steps():
    hybrid = HybridSettings(vlb_weight=0.001, steps=10, levels=256)
    ready, (known, unknown) = denoised(hybrid=hybrid), conditions(2)
    found = ready(SHAPES[2], SEEDS, settings(backend="ancestral"), [known], [unknown])
    ready.objective.hybrid = None
    assert not torch.allclose(found, ready(SHAPES[2], SEEDS, settings(backend="ancestral"), [known], [unknown]))


def test_nothing_has_a_gradient():
    ready, (known, unknown) = denoised(), conditions(2)
    assert not ready(SHAPES[2], SEEDS, settings(eta=0.0), [known], [unknown]).requires_grad
