"""Each option of the generator does what its name says: a test for each, which fails where it does nothing."""

import math

import numpy as np
import pytest
import torch

from msdiff.diffusion.sampler import SamplerSettings
from msdiff.errors import BadSettings
from msdiff.networks.detectors import load_detector
from msdiff.networks.weights import load_weights
from msdiff.settings import check
from msdiff.synthesis.long_ms_diff import task as module
from msdiff.synthesis.long_ms_diff.follow_ups import load_generator
from msdiff.synthesis.long_ms_diff.options import LongMSDiffSettings

UNIT = {"backend": "unit", "options": {}}
LEARNED = {"backend": "learned", "options": {"vlb_weight": 0.001, "steps": 1000, "levels": 256}}
BALANCES = {
    "kendall": {"reconstruction": 0.02, "segmentation": 1.0},
    "ema_ratio": {"target": 0.1, "decay": 0.9, "largest": 1e4},
    "gradient_norm": {"delta": 1e-6, "largest": 1e4},
    "fixed": {"weight": 0.3},
}
ROWS = 8


@pytest.fixture
def make(stack, detector_path, given):
    """A function that makes the task with changed settings, and one batch of it."""

    def made(**changes):
        settings = check(LongMSDiffSettings, given("generator", **{"objective__lesion_factor": 1.0} | changes))
        task = module.LongMSDiff(stack, settings, load_detector(detector_path)[0])
        return task, task.batch(np.arange(ROWS), np.random.default_rng(0))

    return made


def loss(task, batch, seed=0):
    return task.loss(batch, torch.Generator().manual_seed(seed))


def noise_of(task):
    """Times and noise as the loss samples them with seed 0: alpha, sigma (B, 1, 1, 1) and eps."""
    rng = torch.Generator().manual_seed(0)
    noised = task.denoiser.objective.noised(torch.zeros(ROWS, 1, 16, 16), rng)
    logsnr, eps = noised.logsnr[:, None, None, None], noised.eps
    return logsnr.sigmoid().sqrt(), (-logsnr).sigmoid().sqrt(), eps


def perturbed(task):
    """The task with a last layer that is no longer zero."""
    with torch.no_grad():
        task.denoiser.last.copy_(
            0.1 * torch.randn(task.denoiser.last.shape, generator=torch.Generator().manual_seed(1))
        )
    return task


@pytest.mark.parametrize("prediction", ["eps", "x", "v"])
def test_prediction_is_what_the_network_is_held_to(make, prediction):
    task, batch = make(objective__prediction=prediction, objective__weight=UNIT)
    alpha, sigma, eps = noise_of(task)
    x = batch["follow_up"]
    wanted = {"eps": eps, "x": x, "v": alpha * eps - sigma * x}[prediction]
    # An untrained network says zero.
    assert loss(task, batch)["reconstruction"].item() == pytest.approx(wanted.square().mean().item(), rel=1e-4)


def test_min_snr_weighs_by_the_noise(make):
    task, batch = make(objective__prediction="x", objective__weight={"backend": "min_snr", "options": {"gamma": 5.0}})
    alpha, sigma, _ = noise_of(task)
    weight = (alpha / sigma).square().clamp(max=5)
    expected = (weight * batch["follow_up"].square()).mean().item()
    assert loss(task, batch)["reconstruction"].item() == pytest.approx(expected, rel=1e-4)


def test_another_schedule_adds_other_noise(make):
    options = {"noise_d": 8.0, "image_d": 16.0, "logsnr_min": -20.0, "logsnr_max": 20.0}
    shifted = {"backend": "shifted_cosine", "options": options}
    (task, batch), (other, _) = make(objective__weight=UNIT), make(objective__weight=UNIT, objective__schedule=shifted)
    assert loss(task, batch)["reconstruction"] != loss(other, batch)["reconstruction"]


def test_lesion_factor_moves_the_loss_towards_lesions(make):
    chosen = {"objective__prediction": "x", "objective__weight": UNIT}
    tasks = [make(**chosen, objective__lesion_factor=factor) for factor in (1.0, 1e6)]
    values = [loss(task, batch) for task, batch in tasks]
    _, batch = tasks[0]
    squares = batch["follow_up"].square() * batch["change_mask"]
    filled = batch["change_mask"].flatten(1).any(1)
    of_lesions = squares.sum((1, 2, 3))[filled] / batch["change_mask"].sum((1, 2, 3))[filled]
    of_others = batch["follow_up"].square().mean((1, 2, 3))[~filled]
    expected = torch.cat([of_lesions, of_others]).mean().item()
    assert values[1]["reconstruction"].item() == pytest.approx(expected, rel=1e-3)
    assert values[0]["reconstruction"].item() == pytest.approx(batch["follow_up"].square().mean().item(), rel=1e-4)
    # The history's error in lesions is plain, whatever the weight.
    assert values[0]["lesion_squared_error"].item() == pytest.approx(
        (squares.sum() / batch["change_mask"].sum()).item()
    )
    assert values[0]["lesion_squared_error"] == values[1]["lesion_squared_error"]


def test_a_learned_variance_has_a_bound_in_the_loss_and_an_output_that_learns(make):
    task, batch = make(variance=LEARNED, objective__prediction="eps")
    values = loss(perturbed(task), batch)
    assert values["reconstruction"] != values["squared_error"]
    values["loss"].backward()
    assert task.denoiser.last.grad[1].abs().sum() > 0
    without, _ = make(variance=LEARNED | {"options": LEARNED["options"] | {"vlb_weight": 0.0}})
    values = loss(perturbed(without), batch)
    assert values["reconstruction"] == values["squared_error"]
    values["loss"].backward()
    assert without.denoiser.last.grad[1].abs().sum() == 0
    fixed, _ = make()
    assert fixed.denoiser.last.shape[0] == 1


@pytest.mark.parametrize(("bound", "seen"), [(0.0, 0), (0.25, 2), (0.5, 4), (1.0, ROWS)])
def test_the_detector_sees_samples_of_little_noise_only(make, bound, seen):
    task, batch = make(auxiliary__maximum_time=bound)
    shown = []
    task.auxiliary.register_forward_pre_hook(lambda module, images: shown.append(images[1]))
    values = loss(task, batch)
    # Times are spread evenly, one in each of eight equal parts.
    assert sum(len(images) for images in shown) == pytest.approx(seen, abs=1 if 0 < bound < 1 else 0)
    assert (values["segmentation"] > 0) == (bound > 0)


def test_the_detector_weighs_samples_by_alpha_squared(make, monkeypatch):
    given_weights = []
    real = module.segmentation_loss
    monkeypatch.setattr(
        module, "segmentation_loss", lambda *arguments: given_weights.append(arguments[-1]) or real(*arguments)
    )
    task, batch = make(auxiliary__maximum_time=1.0)
    loss(task, batch)
    torch.testing.assert_close(given_weights[0].float(), noise_of(task)[0].square().flatten().float())


@pytest.mark.parametrize("name", BALANCES)
def test_each_balance_weighs_in_its_own_way(make, name):
    task, batch = make(auxiliary__balance={"backend": name, "options": BALANCES[name]}, auxiliary__maximum_time=1.0)
    values = loss(perturbed(task), batch)
    reconstruction, segmentation = values["reconstruction"].item(), values["segmentation"].item()
    weight, total = values["segmentation_weight"].item(), values["loss"].item()
    if name == "kendall":
        s1, s2 = math.log(0.02), 0.0
        expected = 0.02 * (math.exp(-s1) * reconstruction + s1 + math.exp(-s2) * segmentation + s2)
        assert weight == pytest.approx(0.02)
        values["loss"].backward()
        balance = task.modules["balance"]
        assert balance.s1.grad != 0
        assert balance.s2.grad != 0
    else:
        expected = reconstruction + weight * segmentation
    assert total == pytest.approx(expected, rel=1e-5)
    if name == "fixed":
        assert weight == pytest.approx(0.3)
    if name == "ema_ratio":
        assert weight * segmentation / reconstruction == pytest.approx(0.1, rel=1e-4)
    if name == "gradient_norm":
        again = loss(task, batch)
        norms = [
            torch.autograd.grad(again[part], task.denoiser.last, retain_graph=True)[0].norm()
            for part in ("reconstruction", "segmentation")
        ]
        assert weight == pytest.approx((norms[0] / norms[1]).item(), rel=1e-3)


def test_lambda_of_every_row_is_in_the_history(tmp_path, stack, detector_path, given):
    balance = {"backend": "ema_ratio", "options": BALANCES["ema_ratio"]}
    settings = given("generator", auxiliary__balance=balance, training__log_every=1, auxiliary__maximum_time=1.0)
    history = module.train_generator(stack, settings, detector_path, tmp_path, None, torch.device("cpu")).history
    assert list(history["step"]) == [1, 2, 3, 4]
    assert history["segmentation_weight"].gt(0).all()
    assert history["segmentation_weight"].nunique() == 4


def test_guidance_moves_away_from_the_estimate_without_mask_and_scalars(generator_path, given):
    sample = load_generator(*load_weights(generator_path), torch.device("cpu"))
    baseline, mask = torch.zeros(2, 1, 16, 16), torch.zeros(2, 1, 16, 16)
    mask[:, :, 4:9, 4:9] = 1
    scalars = torch.tensor([[300.0, 2, 1], [100, 1, 1]])
    # One step from noise is the estimate itself.
    ddim = {"backend": "ddim", "options": {"spacing": "t", "clip": None, "eta": 0.0}}

    def sampled(mask, scalars, weight):
        settings = check(SamplerSettings, given("sampler", sampler=ddim, steps=1, guidance_weight=weight))
        return sample(baseline, mask, scalars, [1, 2], settings)

    conditional = sampled(mask, scalars, 0.0)
    # Standardised scalars of zero are the means of training, whose volumes and numbers these are.
    means = [math.expm1(sample.statistics[name]["mean"]) for name in ("change_mm3", "change_count")]
    unconditional = sampled(torch.zeros_like(mask), torch.tensor([[*means, 0.0]] * 2), 0.0)
    expected = conditional + 2.0 * (conditional - unconditional)
    torch.testing.assert_close(sampled(mask, scalars, 2.0), expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(conditional, unconditional, atol=1e-4)


@pytest.mark.parametrize("unit", ["scan", "slice"])
def test_scalars_are_those_of_their_unit(make, unit):
    task, batch = make(scalars=unit)
    counts = task.slices[f"{unit}_change_count"].to_numpy()[:ROWS]
    flags = batch["scalars"][:, 2].numpy()
    np.testing.assert_array_equal(flags, counts > 0)
    # Volumes of a scan are those of all its slices.
    assert (batch["scalars"][0, 0] == batch["scalars"][2, 0]).item() == (unit == "scan")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("conditions", ["baseline", "baseline"]),
        ("conditions", ["age"]),
        ("target", {"backend": "shape", "options": {}}),
    ],
)
def test_an_unknown_choice_is_bad_settings(make, key, value):
    with pytest.raises(BadSettings, match=key):
        make(**{key: value})
