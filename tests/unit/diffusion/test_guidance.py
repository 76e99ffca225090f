import torch

from msdiff.diffusion import guidance


def test_no_weight_is_the_conditional_prediction_to_the_bit():
    conditional, unconditional = torch.randn(2, 3), torch.randn(2, 3)
    assert torch.equal(guidance.guided(conditional, unconditional, 0), conditional)


def test_weight_moves_away_from_the_unconditional_prediction():
    guided = guidance.guided(torch.tensor([3.0]), torch.tensor([1.0]), 0.5)
    assert guided == 1 + 1.5 * (3 - 1)


def test_weight_of_minus_one_is_the_unconditional_prediction():
    assert guidance.guided(torch.tensor([3.0]), torch.tensor([1.0]), -1) == 1


def test_drop_rate_is_the_probability_and_repeats_with_its_seed():
    drop = guidance.dropped(20_000, 0.1, torch.Generator().manual_seed(1))
    assert drop.dtype == torch.bool
    assert abs(drop.float().mean() - 0.1) < 0.01
    assert torch.equal(drop, guidance.dropped(20_000, 0.1, torch.Generator().manual_seed(1)))


def test_probability_of_zero_and_one_are_never_and_always():
    generator = torch.Generator().manual_seed(0)
    assert not guidance.dropped(1000, 0.0, generator).any()
    assert guidance.dropped(1000, 1.0, generator).all()


def test_dropped_samples_get_the_null_condition():
    condition, null = torch.ones(3, 2, 4, 4), torch.full((3, 2, 4, 4), -5.0)
    result = guidance.without(condition, null, torch.tensor([False, True, False]))
    assert result.flatten(1).unique(dim=1).flatten().tolist() == [1, -5, 1]


def test_a_guided_denoiser_asks_both_answers_in_one_batch():
    calls = []

    def estimate(z, logsnr, condition):
        calls.append(len(z))
        return z + logsnr[:, None] * condition

    z, logsnr, condition = torch.randn(3, 2), torch.tensor([1.0, 2.0, 3.0]), torch.randn(3, 2)
    null = torch.zeros_like(condition)
    plain = guidance.guided_denoiser(estimate, [condition], [null], 0.0)(z, logsnr)
    assert torch.equal(plain, estimate(z, logsnr, condition))
    moved = guidance.guided_denoiser(estimate, [condition], [null], 1.5)(z, logsnr)
    torch.testing.assert_close(moved, 2.5 * plain - 1.5 * z)
    assert calls == [3, 3, 6]


def test_a_guided_denoiser_keeps_the_fraction_of_the_conditional_answer():
    denoise = guidance.guided_denoiser(lambda z, logsnr, c: (z * c, c), [torch.ones(2, 1)], [torch.zeros(2, 1)], 1.0)
    x_hat, fraction = denoise(torch.full((2, 1), 3.0), torch.zeros(2))
    assert x_hat.flatten().tolist() == [6, 6]
    assert fraction.flatten().tolist() == [1, 1]
