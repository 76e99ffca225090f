import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from msdiff.diffusion import noise, objective
from msdiff.diffusion.variance import HybridSettings, hybrid_loss, vlb_term
from msdiff.errors import BadSettings
from msdiff.settings import check

COSINE = {"offset": 0.008, "logsnr_min": -20.0, "logsnr_max": 20.0}
GAMMA = {"gamma": 5.0}
SETTINGS = {
    "prediction": "v",
    "schedule": {"backend": "cosine", "options": COSINE},
    "weight": {"backend": "min_snr", "options": GAMMA},
    "error": "l2",
    "lesion_factor": 1.0,
    "loss_scale": 1.0,
}
UNIT = {"backend": "unit", "options": {}}
logsnrs = st.floats(-12, 12)
predictions = st.sampled_from(sorted(objective.PREDICTIONS))


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def made(prediction: str = "v", hybrid: HybridSettings | None = None, **changes: object) -> objective.Objective:
    chosen = SETTINGS | {"prediction": prediction} | changes
    return objective.Objective(check(objective.ObjectiveSettings, chosen), hybrid)


@given(logsnrs, predictions)
def test_targets_convert_to_image_and_noise(value, prediction):
    x, eps = normal(2, 1, 4, 4), normal(2, 1, 4, 4, seed=1)
    logsnr = torch.tensor([value, 0.5], dtype=torch.float64)
    z = noise.add_noise(x, eps, logsnr)
    output = made(prediction).target(x, eps, logsnr)
    torch.testing.assert_close(made(prediction).to_x(output, z, logsnr), x)
    torch.testing.assert_close(made(prediction).to_eps(output, z, logsnr), eps)


@given(logsnrs, predictions)
def test_estimates_of_image_and_noise_explain_the_input(value, prediction):
    z, output = normal(1, 1, 4, 4), normal(1, 1, 4, 4, seed=1)
    logsnr = torch.tensor([value], dtype=torch.float64)
    x, eps = (convert(output, z, logsnr) for convert in (made(prediction).to_x, made(prediction).to_eps))
    torch.testing.assert_close(noise.add_noise(x, eps, logsnr), z)


@given(logsnrs)
def test_min_snr_losses_agree_after_conversion(value):
    x, eps, x_hat = normal(1, 1, 4, 4), normal(1, 1, 4, 4, seed=1), normal(1, 1, 4, 4, seed=2)
    logsnr = torch.tensor([value], dtype=torch.float64)
    z = noise.add_noise(x, eps, logsnr)
    eps_hat = made("x").to_eps(x_hat, z, logsnr)
    noised = objective.Noised(x, eps, z, torch.zeros(1), logsnr)
    losses = [
        made(prediction).loss(made(prediction).target(x_hat, eps_hat, logsnr), noised, torch.zeros_like(x)).loss
        for prediction in ("x", "eps", "v")
    ]
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-6, atol=0)
    torch.testing.assert_close(losses[2], losses[0], rtol=1e-6, atol=0)


def test_min_snr_is_the_formula_of_the_paper():
    logsnr = torch.tensor([-20.0, -1, 0, math.log(5), 3, 20], dtype=torch.float64)
    snr = logsnr.exp()
    kept = snr.clamp(max=5)
    for prediction, expected in {"x": kept, "eps": kept / snr, "v": kept / (snr + 1)}.items():
        torch.testing.assert_close(made(prediction).weight(logsnr), expected)


def test_min_snr_weight_vanishes_for_v_and_stays_below_one_for_eps():
    logsnr = torch.linspace(-20, 20, 81)
    assert made("v").weight(logsnr)[-1] < 1e-7
    assert made("eps").weight(logsnr).max() <= 1


def test_unit_weight_is_one():
    assert made("v", weight=UNIT).weight(torch.tensor([-3.0, 9])).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [("snr", {}, "expected one of unit, min_snr"), ("min_snr", {"gamma": 0}, "gamma"), ("unit", GAMMA, "unknown key")],
)
def test_unknown_weight_or_option_is_refused(name, options, message):
    with pytest.raises(BadSettings, match=message):
        made(weight={"backend": name, "options": options})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prediction": "epsilon"}, "prediction: Input should be 'eps', 'x' or 'v', got 'epsilon'"),
        ({"error": "huber"}, "error: Input should be 'l2' or 'l1', got 'huber'"),
        ({"lesion_factor": 0.5}, "lesion_factor: Input should be greater than or equal to 1"),
        ({"loss_scale": 0.0}, "loss_scale: Input should be greater than 0"),
        ({"schedule": {"backend": "cosin", "options": {}}}, "schedule: expected one of cosine, .*, got 'cosin'"),
    ],
)
def test_every_option_is_checked_when_it_is_built(changes, message):
    with pytest.raises(BadSettings, match=message):
        made(**changes)


def test_a_step_checks_no_option(monkeypatch):
    built = made(lesion_factor=3.0)

    def checks(*arguments):
        pytest.fail("an option was checked in a step")

    for module in ("msdiff.settings", "msdiff.diffusion.noise", "msdiff.diffusion.objective"):
        monkeypatch.setattr(f"{module}.build", checks)
    monkeypatch.setattr("msdiff.settings.check", checks)
    noised = built.noised(normal(2, 1, 4, 4), torch.Generator().manual_seed(0))
    loss = built.loss(torch.zeros_like(noised.x), noised, torch.ones_like(noised.x)).loss
    assert loss > 0


class TestNoised:
    def test_times_are_spread_over_the_unit_interval(self):
        noised = made().noised(normal(8, 1, 2, 2), torch.Generator().manual_seed(0))
        assert sorted((noised.time * 8).long().tolist()) == list(range(8))
        assert noised.logsnr.dtype == torch.float64
        torch.testing.assert_close(noised.logsnr, made().schedule(noised.time))

    def test_times_are_discrete_if_the_variance_is_learned(self):
        hybrid = HybridSettings(vlb_weight=0.001, steps=10, levels=256)
        rng, again = (torch.Generator().manual_seed(0) for _ in range(2))
        time = made(hybrid=hybrid).noised(normal(4, 1, 2, 2), rng).time
        index = (objective.spread_times(4, again) * 10).long()
        torch.testing.assert_close(time, (index.double() + 1) / 10)

    def test_images_are_mixed_with_noise_in_their_own_type(self):
        noised = made().noised(normal(4, 1, 2, 2).float(), torch.Generator().manual_seed(0), torch.float32)
        assert {part.dtype for part in (noised.eps, noised.z, noised.logsnr)} == {torch.float32}
        assert torch.equal(noised.z, noise.add_noise(noised.x, noised.eps, noised.logsnr))


class TestLoss:
    x = torch.tensor([[[1.0, 2, 3, 4]], [[0, 0, 2, 0]]])
    lesions = torch.tensor([[[1.0, 0, 0, 0]], [[0, 0, 0, 0]]])

    def noised(self):
        logsnr = torch.tensor([0.0, math.log(10)])
        return objective.Noised(self.x, torch.zeros_like(self.x), self.x, torch.zeros(2), logsnr)

    @pytest.mark.parametrize(
        ("error", "name", "shares", "plain", "of_lesion"),
        [
            # Weights min(SNR, 5) are 1 and 5; the first sample's first voxel counts three of six.
            ("l2", "squared_error", [(3 * 1 + 4 + 9 + 16) / 6, 5 * 4 / 4], (1 + 4 + 9 + 16 + 4) / 8, 1),
            ("l1", "absolute_error", [(3 * 1 + 2 + 3 + 4) / 6, 5 * 2 / 4], (1 + 2 + 3 + 4 + 2) / 8, 1),
        ],
    )
    def test_is_that_computed_by_hand(self, error, name, shares, plain, of_lesion):
        built = made("x", error=error, lesion_factor=3.0, loss_scale=10.0)
        loss = built.loss(torch.zeros_like(self.x), self.noised(), self.lesions)
        assert loss.loss.item() == pytest.approx(10 * sum(shares) / 2)
        named = {key: value.item() for key, value in built.named(loss.error, loss.lesion_error).items()}
        assert named == pytest.approx({name: plain, f"lesion_{name}": of_lesion})

    def test_without_a_factor_is_that_of_no_lesions(self):
        prediction = torch.ones_like(self.x)
        with_lesions, without = (
            made("x").loss(prediction, self.noised(), mask).loss for mask in (self.lesions, 0 * self.lesions)
        )
        assert with_lesions == without

    def test_is_zero_without_error_and_of_no_lesion(self):
        loss = made("x", error="l1", lesion_factor=3.0).loss(self.x, self.noised(), 0 * self.lesions)
        assert [value.item() for value in loss] == [0, 0, 0]

    def test_bound_is_that_of_the_times_of_the_noise(self):
        hybrid = HybridSettings(vlb_weight=0.5, steps=10, levels=256)
        built, x = made("eps", hybrid=hybrid), normal(4, 2, 3, 3).clamp(-1, 1)
        noised = built.noised(x, torch.Generator().manual_seed(0))
        output = normal(4, built.outputs(2), 3, 3, seed=1).float()
        answer = built.answer(output, noised.z, noised.logsnr)
        assert torch.equal(answer.prediction, output[:, :2])
        assert torch.equal(answer.fraction, (output[:, 2:] + 1) / 2)
        index = (objective.spread_times(4, torch.Generator().manual_seed(0)) * 10).long()
        term = vlb_term(answer.x_hat, answer.fraction, x, noised.z, index, built.schedule, hybrid)
        expected = hybrid_loss(torch.tensor(2.0), term, hybrid)
        assert built.with_bound(torch.tensor(2.0), answer, noised) == expected

    def test_a_fixed_variance_has_one_output_and_no_bound(self):
        built = made("eps")
        answer = built.answer(normal(1, 2, 3, 3), normal(1, 2, 3, 3, seed=1), torch.zeros(1))
        assert built.outputs(2) == 2
        assert answer.fraction is None
        assert built.with_bound(torch.tensor(2.0), answer, self.noised()) == 2


class TestWeightedMean:
    def test_is_the_mean_over_samples_of_weight_times_error(self):
        output = torch.tensor([[[1.0, 1]], [[2, 0]]])
        loss = objective.weighted_mean(output.square(), torch.tensor([1.0, 3]))
        assert loss == (1 * 1 + 3 * 2) / 2

    def test_equal_voxel_weights_change_nothing(self):
        error, weight = normal(3, 2, 4, 4).square(), torch.tensor([1.0, 2, 3]).double()
        even = torch.full((3, 1, 4, 4), 7.0)
        torch.testing.assert_close(objective.weighted_mean(error, weight, even), objective.weighted_mean(error, weight))

    def test_voxel_weights_move_the_share_of_lesions(self):
        error = torch.tensor([[[1.0, 0, 0, 0]]])
        ones = torch.ones(1)
        lesion = torch.tensor([[[10.0, 1, 1, 1]]])
        assert objective.weighted_mean(error, ones, lesion) == pytest.approx(10 / 13)

    def test_samples_do_not_share_voxel_weights(self):
        error = normal(2, 1, 4, 4).square()
        voxel_weight = 1 + 9 * (normal(2, 1, 4, 4, seed=2) > 1).double()
        weight = torch.ones(2).double()
        alone = [objective.weighted_mean(error[i : i + 1], weight[i : i + 1], voxel_weight[i : i + 1]) for i in (0, 1)]
        torch.testing.assert_close(objective.weighted_mean(error, weight, voxel_weight), sum(alone) / 2)
