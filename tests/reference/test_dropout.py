"""Inverted dropout keeps the expectation, drops independently and stops where it must."""

import pytest
import torch

from fusedrnn.reference.dropout import dropout


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_each_element_is_zero_or_scaled(p):
    x = torch.rand(401, 251) + 1
    y = dropout(x, p)
    dropped = y == 0
    torch.testing.assert_close(y[~dropped], x[~dropped] / (1 - p))
    five_sigma = 5 * (p * (1 - p) / x.numel()) ** 0.5
    assert dropped.double().mean().item() == pytest.approx(p, abs=five_sigma)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_expectation_is_kept(p):
    draws = 100_003
    mean = dropout(torch.full((draws,), 3.0, dtype=torch.float64), p).mean().item()
    assert mean == pytest.approx(3.0, abs=5 * 3.0 * (p / (1 - p) / draws) ** 0.5)


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_same_seed_draws_the_same_mask_as_torch(p):
    x = torch.randn(17, 5, requires_grad=True)
    torch.manual_seed(9)
    ours = dropout(x, p)
    torch.manual_seed(9)
    theirs = torch.nn.functional.dropout(x, p)
    assert torch.equal(ours, theirs)
    assert torch.equal(torch.autograd.grad(ours.sum(), x)[0], torch.autograd.grad(theirs.sum(), x)[0])


def test_every_call_draws_anew():
    x = torch.ones(1001)
    assert not torch.equal(dropout(x, 0.5), dropout(x, 0.5))


@pytest.mark.parametrize(("p", "training"), [(0.0, True), (0.7, False), (1.0, False)])
def test_nothing_is_dropped_or_drawn_when_off(p, training):
    x = torch.randn(7, 3)
    before = torch.get_rng_state()
    assert dropout(x, p, training) is x
    assert torch.equal(torch.get_rng_state(), before)


def test_p_one_drops_all_with_zero_gradient():
    x = torch.randn(7, 3, requires_grad=True)
    y = dropout(x, 1.0)
    y.sum().backward()
    assert (y == 0).all()
    assert (x.grad == 0).all()


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_p_must_be_a_probability(p):
    with pytest.raises(ValueError, match=rf"^dropout: expected a probability from 0 to 1, got {p}$"):
        dropout(torch.ones(3), p)
