import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from msdiff.diffusion import noise, variance

COSINE = {"offset": 0.008, "logsnr_min": -20.0, "logsnr_max": 20.0}
HYBRID = variance.HybridSettings(vlb_weight=0.001, steps=1000, levels=256)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class TestVariationalBound:
    schedule = staticmethod(noise.load_schedule("cosine", COSINE))

    def noisy(self, index: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        logsnr = self.schedule(variance.discrete_times(index, HYBRID.steps))
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
        term = variance.vlb_term(x_hat, fraction, x, z, at, self.schedule, HYBRID)
        torch.testing.assert_close(term[0], expected, rtol=1e-6, atol=1e-9)

    def test_first_step_is_the_likelihood_of_the_grey_level(self):
        betas = self.chain()
        alpha2 = (1 - betas).cumprod(0)
        grey = torch.tensor([0, 1, 100, 254, 255], dtype=torch.float64)
        x = (grey / 127.5 - 1).reshape(1, 1, 5)
        x_hat = x + 0.004
        at = torch.tensor([0])
        term = variance.vlb_term(x_hat, torch.zeros_like(x), x, self.noisy(at, x), at, self.schedule, HYBRID)
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
        variance.vlb_term(x_hat, fraction, x, self.noisy(index, x), index, self.schedule, HYBRID).sum().backward()
        assert x_hat.grad is None
        assert torch.isfinite(fraction.grad).all()
        assert (fraction.grad != 0).flatten(1).any(1)[:3].all()

    def test_term_of_a_perfect_model_is_zero(self):
        x = normal(2, 1, 3, 3).clamp(-1, 1)
        index = torch.tensor([1, 700])
        term = variance.vlb_term(x, torch.zeros_like(x), x, self.noisy(index, x), index, self.schedule, HYBRID)
        torch.testing.assert_close(term, torch.zeros_like(term), atol=1e-9, rtol=0)

    def test_single_precision_gives_the_same(self):
        x, x_hat = normal(4, 1, 3, 3).clamp(-1, 1), normal(4, 1, 3, 3, seed=1).clamp(-1, 1)
        index = torch.tensor([0, 1, 500, 999])
        z, fraction = self.noisy(index, x), torch.full_like(x, 0.3)
        double = variance.vlb_term(x_hat, fraction, x, z, index, self.schedule, HYBRID)
        single = variance.vlb_term(x_hat.float(), fraction.float(), x.float(), z.float(), index, self.schedule, HYBRID)
        assert single.dtype == torch.float32
        torch.testing.assert_close(single.double(), double, rtol=1e-3, atol=1e-6)


def test_hybrid_loss_scales_the_bound_by_its_steps():
    loss = variance.hybrid_loss(torch.tensor(1.0), torch.tensor([2.0, 4.0]), HYBRID)
    assert loss == pytest.approx(1 + 0.001 * 1000 * 3)


def test_fraction_of_minus_one_and_one_are_the_ends_of_the_range():
    fraction = variance.variance_fraction(torch.tensor([-1.0, 1.0]))
    ends = variance.log_variance(fraction, torch.tensor(-9.0), torch.tensor(-2.0))
    assert ends.tolist() == [-9, -2]


def test_likelihoods_of_all_levels_sum_to_one():
    grey = torch.linspace(-1, 1, 256, dtype=torch.float64)
    log = variance.discretised_log_likelihood(grey, torch.full_like(grey, 0.3), torch.full_like(grey, -3.0), 256)
    assert log.exp().sum() == pytest.approx(1, abs=1e-6)
