import numpy as np
import pytest
import torch

from msdiff.diffusion.sampler import SamplerSettings, load_sampler, noise_like, sample
from msdiff.errors import BadInput, BadSettings
from msdiff.forecasting import forecaster as module
from msdiff.networks.weights import load_weights, save_weights, sha256
from msdiff.settings import check

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def forecast(forecaster_path, tmp_path_factory):
    """A forecaster whose every weight is something, so that all that it is given matters."""
    tensors, description = load_weights(forecaster_path)
    torch.manual_seed(0)
    tensors = {name: value if value.any() else 0.05 * torch.randn(value.shape) for name, value in tensors.items()}
    path = tmp_path_factory.mktemp("awake") / "weights.safetensors"
    save_weights(tensors, description, path)
    return module.load(path, CPU)


def sampler(weight=0.0, steps=3, clip=None):
    choice = {"backend": "ddim", "options": {"spacing": "t", "clip": clip, "eta": 0.5}}
    return check(SamplerSettings, {"sampler": choice, "steps": steps, "guidance_weight": weight})


def inputs(forecast, batch=5):
    images = torch.randn(batch, len(forecast.channels), *forecast.shape, generator=torch.Generator().manual_seed(0))
    return images, torch.arange(batch) % 3, list(range(10, 10 + batch))


def test_it_tells_what_it_is_given(forecast, forecaster_path):
    assert forecast.channels == ("flair@w000", "lesion_mask@w000", "flair@w048", "lesion_mask@w048", "net2@w048")
    assert forecast.arms == ("placebo", "mild_efficacy", "high_efficacy")
    assert forecast.shape == (2, 8, 12)
    loaded = module.load(forecaster_path, CPU)
    assert loaded.sha256 == sha256(forecaster_path)
    assert loaded.description["model"] == "two_sessions"


@pytest.mark.parametrize("weight", [0.0, 1.5])
def test_a_draw_depends_on_its_own_row_alone(forecast, weight):
    images, arms, seeds = inputs(forecast)
    together = forecast(images, arms, seeds, sampler(weight))
    assert together.shape == (5, 2, 8, 12)
    for place in (0, 3, 4):
        alone = forecast(images[place : place + 1], arms[place : place + 1], seeds[place : place + 1], sampler(weight))
        assert torch.equal(alone[0], together[place])
    assert torch.equal(forecast(images.flip(0), arms.flip(0), seeds[::-1], sampler(weight)).flip(0), together)


def test_arm_images_and_seed_each_matter(forecast):
    images, arms, seeds = (part[:1] for part in inputs(forecast))
    sampled = forecast(images, arms, seeds, sampler())
    assert not torch.allclose(forecast(images + 0.5, arms, seeds, sampler()), sampled)
    assert not torch.allclose(forecast(images, arms + 1, seeds, sampler()), sampled)
    assert not torch.allclose(forecast(images, arms, [99], sampler()), sampled)


def test_guidance_moves_away_from_null_arm_and_zero_images(forecast):
    images, arms, seeds = inputs(forecast, 2)
    weight = 1.5
    network, objective = forecast.network, forecast.denoised.objective

    def denoise(z, logsnr):
        answers = []
        for arm, shown in ((arms, images), (torch.full_like(arms, 3), torch.zeros_like(images))):
            output = network(z, logsnr, arm, network.control.embed(shown))
            answers.append(objective.answer(output, z, logsnr).x_hat)
        return (1 + weight) * answers[0] - weight * answers[1]

    chosen = sampler(weight)
    noise = noise_like((1, *forecast.shape), seeds)
    expected = sample(denoise, noise, objective.schedule, load_sampler(chosen.sampler, chosen.steps), seeds)[:, 0]
    torch.testing.assert_close(forecast(images, arms, seeds, chosen), expected, rtol=1e-4, atol=1e-4)


def test_an_untrained_control_net_samples_what_the_prior_does(forecaster_path, tmp_path):
    tensors, description = load_weights(forecaster_path)
    zeroed = {name: torch.zeros_like(value) if "controlnet_" in name else value for name, value in tensors.items()}
    save_weights(zeroed, description, tmp_path / "weights.safetensors")
    forecast = module.load(tmp_path / "weights.safetensors", CPU)
    images, arms, seeds = inputs(forecast, 4)
    prior, objective, chosen = forecast.network.prior, forecast.denoised.objective, sampler()
    alone = sample(
        lambda z, logsnr: objective.answer(prior(z, logsnr, arms), z, logsnr).x_hat,
        noise_like((1, *forecast.shape), seeds),
        objective.schedule,
        load_sampler(chosen.sampler, chosen.steps),
        seeds,
    )
    assert torch.equal(forecast(images, arms, seeds, chosen), alone[:, 0])


def test_guidance_that_was_not_trained_is_refused(forecaster_path, tmp_path):
    tensors, description = load_weights(forecaster_path)
    description["settings"]["control"]["dropout"]["images"] = 0.0
    save_weights(tensors, description, tmp_path / "weights.safetensors")
    forecast = module.load(tmp_path / "weights.safetensors", CPU)
    with pytest.raises(BadSettings, match="expected 0 for a forecaster trained without dropout"):
        forecast(*inputs(forecast), sampler(1.0))
    assert np.isfinite(forecast(*inputs(forecast), sampler()).numpy()).all()


def test_weights_of_something_else_are_refused(prior_path):
    with pytest.raises(
        BadInput, match=r"expected a forecaster's weights, got those of a 'lesion_prior'.*train-control"
    ):
        module.load(prior_path, CPU)


def test_weights_that_do_not_fit_their_description_are_refused(forecaster_path, tmp_path):
    tensors, description = load_weights(forecaster_path)
    description["channels"] = description["channels"][:2]
    save_weights(tensors, description, tmp_path / "weights.safetensors")
    with pytest.raises(BadInput, match="expected weights of the network that it describes"):
        module.load(tmp_path / "weights.safetensors", CPU)


@pytest.mark.filterwarnings("ignore:.*script_method.*:DeprecationWarning")
def test_where_the_compiler_fails_the_plain_networks_sample_the_same(forecaster_path, monkeypatch, caplog):
    def broken(*parts, **options):
        raise RuntimeError("no compiler")

    monkeypatch.setattr(torch, "compile", lambda forward, **options: broken)
    asked = module.load(forecaster_path, CPU, "always")
    plain = module.load(forecaster_path, CPU)
    assert torch.equal(asked(*inputs(asked), sampler(1.0)), plain(*inputs(plain), sampler(1.0)))
    assert "cannot compile" in caplog.text
