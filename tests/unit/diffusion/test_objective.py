import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Normal, kl_divergence

from msdiff.diffusion import noise, objective
from msdiff.errors import BadSettings

COSINE = {"offset": 0.008, "logsnr_min": -20.0, "logsnr_max": 20.0}
HYBRID = objective.HybridSettings(vlb_weight=0.001, steps=1000, levels=256)
GAMMA = {"gamma": 5.0}
logsnrs = st.floats(-12, 12)
predictions = st.sampled_from(sorted(objective.PREDICTIONS))


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(logsnrs, predictions)
def test_targets_convert_to_image_and_noise(value, prediction):
    x, eps = normal(2, 1, 4, 4), normal(2, 1, 4, 4, seed=1)
    logsnr = torch.tensor([value, 0.5], dtype=torch.float64)
    z = noise.add_noise(x, eps, logsnr)
    output = objective.target(x, eps, logsnr, prediction)
    torch.testing.assert_close(objective.to_x(output, z, logsnr, prediction), x)
    torch.testing.assert_close(objective.to_eps(output, z, logsnr, prediction), eps)


@given(logsnrs, predictions)
def test_estimates_of_image_and_noise_explain_the_input(value, prediction):
    z, output = normal(1, 1, 4, 4), normal(1, 1, 4, 4, seed=1)
    logsnr = torch.tensor([value], dtype=torch.float64)
    x, eps = (convert(output, z, logsnr, prediction) for convert in (objective.to_x, objective.to_eps))
    torch.testing.assert_close(noise.add_noise(x, eps, logsnr), z)


@given(logsnrs)
def test_min_snr_losses_agree_after_conversion(value):
    x, eps, x_hat = normal(1, 1, 4, 4), normal(1, 1, 4, 4, seed=1), normal(1, 1, 4, 4, seed=2)
    logsnr = torch.tensor([value], dtype=torch.float64)
    z = noise.add_noise(x, eps, logsnr)
    eps_hat = objective.to_eps(x_hat, z, logsnr, "x")
    losses = [
        objective.weighted_mse(
            objective.target(x_hat, eps_hat, logsnr, prediction),
            objective.target(x, eps, logsnr, prediction),
            objective.loss_weight(logsnr, prediction, "min_snr", GAMMA),
        )
        for prediction in ("x", "eps", "v")
    ]
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-6, atol=0)
    torch.testing.assert_close(losses[2], losses[0], rtol=1e-6, atol=0)


def test_min_snr_is_the_formula_of_the_paper():
    logsnr = torch.tensor([-20.0, -1, 0, math.log(5), 3, 20], dtype=torch.float64)
    snr = logsnr.exp()
    kept = snr.clamp(max=5)
    for prediction, expected in {"x": kept, "eps": kept / snr, "v": kept / (snr + 1)}.items():
        torch.testing.assert_close(objective.loss_weight(logsnr, prediction, "min_snr", GAMMA), expected)


def test_min_snr_weight_vanishes_for_v_and_stays_below_one_for_eps():
    logsnr = torch.linspace(-20, 20, 81)
    assert objective.loss_weight(logsnr, "v", "min_snr", GAMMA)[-1] < 1e-7
    assert objective.loss_weight(logsnr, "eps", "min_snr", GAMMA).max() <= 1


def test_unit_weight_is_one():
    assert objective.loss_weight(torch.tensor([-3.0, 9]), "v", "unit", {}).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [("snr", {}, "expected one of unit, min_snr"), ("min_snr", {"gamma": 0}, "gamma"), ("unit", GAMMA, "unknown key")],
)
def test_unknown_weight_or_option_is_refused(name, options, message):
    with pytest.raises(BadSettings, match=message):
        objective.loss_weight(torch.zeros(1), "v", name, options)


def test_unknown_prediction_is_refused():
    with pytest.raises(BadSettings, match="expected one of eps, x, v, got 'epsilon'"):
        objective.target(torch.zeros(1, 1), torch.zeros(1, 1), torch.zeros(1), "epsilon")


class TestWeightedMSE:
    def test_is_the_mean_over_samples_of_weight_times_error(self):
        output = torch.tensor([[[1.0, 1]], [[2, 0]]])
        loss = objective.weighted_mse(output, torch.zeros(2, 1, 2), torch.tensor([1.0, 3]))
        assert loss == (1 * 1 + 3 * 2) / 2

    def test_equal_voxel_weights_change_nothing(self):
        output, target, weight = normal(3, 2, 4, 4), normal(3, 2, 4, 4, seed=1), torch.tensor([1.0, 2, 3]).double()
        even = torch.full((3, 1, 4, 4), 7.0)
        torch.testing.assert_close(
            objective.weighted_mse(output, target, weight, even), objective.weighted_mse(output, target, weight)
        )

    def test_voxel_weights_move_the_share_of_lesions(self):
        error = torch.tensor([[[1.0, 0, 0, 0]]])
        ones = torch.ones(1)
        lesion = torch.tensor([[[10.0, 1, 1, 1]]])
        assert objective.weighted_mse(error, torch.zeros_like(error), ones, lesion) == pytest.approx(10 / 13)

    def test_samples_do_not_share_voxel_weights(self):
        output, target = normal(2, 1, 4, 4), normal(2, 1, 4, 4, seed=1)
        voxel_weight = 1 + 9 * (normal(2, 1, 4, 4, seed=2) > 1).double()
        weight = torch.ones(2).double()
        alone = [
            objective.weighted_mse(output[i : i + 1], target[i : i + 1], weight[i : i + 1], voxel_weight[i : i + 1])
            for i in (0, 1)
        ]
        torch.testing.assert_close(objective.weighted_mse(output, target, weight, voxel_weight), sum(alone) / 2)


class TestVariationalBound:
    schedule = staticmethod(noise.load_schedule("cosine", COSINE))

    def noisy(self, index: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        logsnr = self.schedule(objective.discrete_times(index, HYBRID.steps))
        return noise.add_noise(x, normal(*x.shape, seed=3), logsnr)

    def chain(self):
        """Betas of the discrete chain, computed as improved DDPM does."""
        t = torch.arange(0, 1001, dtype=torch.float64) / 1000
        f = torch.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2
        return (1 - f[1:] / f[:-1]).clamp(max=0.999)

    @pytest.mark.parametrize("index", [1, 7, 400, 998])
    def test_term_is_the_divergence_of_the_two_reverse_steps(self, index):
        betas = self.chain()
        alpha2 = (1 - betas).cumprod(0)
        x, x_hat = normal(1, 1, 3, 3).clamp(-1, 1), normal(1, 1, 3, 3, seed=1).clamp(-1, 1)
        fraction = torch.sigmoid(normal(1, 1, 3, 3, seed=2))
        at = torch.tensor([index])
        z = self.noisy(at, x)
        beta, before, now = betas[index], alpha2[index - 1], alpha2[index]
        beta_tilde = beta * (1 - before) / (1 - now)
        of_x, of_z = before.sqrt() * beta / (1 - now), (1 - beta).sqrt() * (1 - before) / (1 - now)
        learned = torch.exp(fraction * beta.log() + (1 - fraction) * beta_tilde.log())
        true = Normal(of_z * z + of_x * x, beta_tilde.sqrt())
        model = Normal(of_z * z + of_x * x_hat, learned.sqrt())
        expected = kl_divergence(true, model).mean() / math.log(2)
        term = objective.vlb_term(x_hat, fraction, x, z, at, self.schedule, HYBRID)
        torch.testing.assert_close(term[0], expected, rtol=1e-6, atol=1e-9)

    def test_first_step_is_the_likelihood_of_the_grey_level(self):
        betas = self.chain()
        alpha2 = (1 - betas).cumprod(0)
        grey = torch.tensor([0, 1, 100, 254, 255], dtype=torch.float64)
        x = (grey / 127.5 - 1).reshape(1, 1, 5)
        x_hat = x + 0.004
        at = torch.tensor([0])
        term = objective.vlb_term(x_hat, torch.zeros_like(x), x, self.noisy(at, x), at, self.schedule, HYBRID)
        deviation = (betas[1] * (1 - alpha2[0]) / (1 - alpha2[1])).sqrt()
        model = Normal(x_hat, deviation)
        upper = torch.where(grey == 255, math.inf, x + 1 / 255)
        lower = torch.where(grey == 0, -math.inf, x - 1 / 255)
        expected = -(model.cdf(upper) - model.cdf(lower)).log2().mean()
        torch.testing.assert_close(term[0], expected, rtol=1e-6, atol=1e-9)

    def test_only_the_variance_learns(self):
        x = normal(4, 1, 3, 3).clamp(-1, 1)
        x_hat = (x + 0.1).requires_grad_()
        fraction = torch.full_like(x, 0.5, requires_grad=True)
        index = torch.tensor([0, 1, 500, 999])
        objective.vlb_term(x_hat, fraction, x, self.noisy(index, x), index, self.schedule, HYBRID).sum().backward()
        assert x_hat.grad is None
        assert torch.isfinite(fraction.grad).all()
        assert (fraction.grad != 0).flatten(1).any(1)[:3].all()

    def test_term_of_a_perfect_model_is_zero(self):
        x = normal(2, 1, 3, 3).clamp(-1, 1)
        index = torch.tensor([1, 700])
        term = objective.vlb_term(x, torch.zeros_like(x), x, self.noisy(index, x), index, self.schedule, HYBRID)
        torch.testing.assert_close(term, torch.zeros_like(term), atol=1e-9, rtol=0)

    def test_single_precision_gives_the_same(self):
        x, x_hat = normal(4, 1, 3, 3).clamp(-1, 1), normal(4, 1, 3, 3, seed=1).clamp(-1, 1)
        index = torch.tensor([0, 1, 500, 999])
        z, fraction = self.noisy(index, x), torch.full_like(x, 0.3)
        double = objective.vlb_term(x_hat, fraction, x, z, index, self.schedule, HYBRID)
        single = objective.vlb_term(x_hat.float(), fraction.float(), x.float(), z.float(), index, self.schedule, HYBRID)
        assert single.dtype == torch.float32
        torch.testing.assert_close(single.double(), double, rtol=1e-3, atol=1e-6)


def test_hybrid_loss_scales_the_bound_by_its_steps():
    loss = objective.hybrid_loss(torch.tensor(1.0), torch.tensor([2.0, 4.0]), HYBRID)
    assert loss == pytest.approx(1 + 0.001 * 1000 * 3)


def test_fraction_of_minus_one_and_one_are_the_ends_of_the_range():
    fraction = objective.variance_fraction(torch.tensor([-1.0, 1.0]))
    ends = objective.log_variance(fraction, torch.tensor(-9.0), torch.tensor(-2.0))
    assert ends.tolist() == [-9, -2]


def test_likelihoods_of_all_levels_sum_to_one():
    grey = torch.linspace(-1, 1, 256, dtype=torch.float64)
    log = objective.discretised_log_likelihood(grey, torch.full_like(grey, 0.3), torch.full_like(grey, -3.0), 256)
    assert log.exp().sum() == pytest.approx(1, abs=1e-6)
