import pytest
import torch
from torch import nn

from msdiff.errors import BadSettings
from msdiff.settings import Choice
from msdiff.synthesis.long_ms_diff.balance import BALANCES, build_balance

OPTIONS = {
    "kendall": {"reconstruction": 1.0, "segmentation": 1.0},
    "ema_ratio": {"target": 0.5, "decay": 0.9, "largest": 100.0},
    "gradient_norm": {"delta": 1e-6, "largest": 100.0},
    "fixed": {"weight": 0.25},
}


def losses(weight):
    return (2 * weight).sum(), (weight**2).sum() * 4


@pytest.fixture
def last():
    return nn.Parameter(torch.ones(3))


@pytest.mark.parametrize("name", BALANCES)
def test_total_is_finite_and_lambda_is_no_part_of_the_graph(name, last):
    balance = build_balance(Choice(backend=name, options=OPTIONS[name]))
    weighed = balance(*losses(last), torch.tensor(1.0), last)
    weighed.total.backward()
    assert torch.isfinite(weighed.total)
    assert not weighed.weight.requires_grad
    assert torch.isfinite(last.grad).all()


@pytest.mark.parametrize("name", BALANCES)
def test_nothing_to_segment_leaves_reconstruction(name, last):
    balance = build_balance(Choice(backend=name, options=OPTIONS[name]))
    weighed = balance(losses(last)[0], torch.zeros(()), torch.tensor(0.0), last)
    assert weighed.total.item() == pytest.approx(6.0)


def test_kendall_learns_the_logarithm_of_each_loss():
    balance = build_balance(Choice(backend="kendall", options=OPTIONS["kendall"]))
    optimiser = torch.optim.SGD(balance.parameters(), lr=0.1)
    for _ in range(500):
        optimiser.zero_grad()
        balance(torch.tensor(0.5), torch.tensor(2.0), torch.tensor(1.0), None).total.backward()
        optimiser.step()
    assert balance.s1.exp().item() == pytest.approx(0.5, rel=1e-3)
    assert balance(torch.tensor(0.5), torch.tensor(2.0), torch.tensor(1.0), None).weight.item() == pytest.approx(
        0.25, rel=1e-2
    )


def test_ema_ratio_holds_the_share_from_the_first_step():
    balance = build_balance(Choice(backend="ema_ratio", options=OPTIONS["ema_ratio"]))
    for _ in range(3):
        weighed = balance(torch.tensor(2.0), torch.tensor(4.0), torch.tensor(1.0), None)
        assert weighed.weight.item() == pytest.approx(0.25)
    balance(torch.tensor(2.0), torch.tensor(0.0), torch.tensor(0.0), None)
    assert balance(torch.tensor(2.0), torch.tensor(4.0), torch.tensor(1.0), None).weight.item() == pytest.approx(0.25)


def test_gradient_norm_is_the_ratio_at_the_last_layer(last):
    balance = build_balance(Choice(backend="gradient_norm", options=OPTIONS["gradient_norm"]))
    assert balance(*losses(last), torch.tensor(1.0), last).weight.item() == pytest.approx(2 / 8, rel=1e-4)


def test_unknown_names_and_options_are_bad_settings():
    with pytest.raises(BadSettings, match="expected one of kendall"):
        build_balance(Choice(backend="none", options={}))
    with pytest.raises(BadSettings, match="unknown key 'weights'"):
        build_balance(Choice(backend="fixed", options={"weights": 1.0, "weight": 1.0}))


def test_kendall_starts_at_the_losses_it_is_told():
    balance = build_balance(Choice(backend="kendall", options={"reconstruction": 0.02, "segmentation": 0.5}))
    reconstruction, segmentation = torch.tensor(0.02, requires_grad=True), torch.tensor(0.5, requires_grad=True)
    weighed = balance(reconstruction, segmentation, torch.tensor(1.0), None)
    weighed.total.backward()
    assert weighed.weight.item() == pytest.approx(0.04)
    assert reconstruction.grad.item() == pytest.approx(1)
    assert segmentation.grad.item() == pytest.approx(0.04)
    assert balance.s1.grad.item() == pytest.approx(0, abs=1e-7)
