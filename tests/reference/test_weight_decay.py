"""Coupled and decoupled weight decay: equal to torch.optim's, and to each other for SGD alone."""

import pytest
import torch

from fusedrnn.reference.l2 import l2_penalty
from fusedrnn.reference.optim import sgd_
from fusedrnn.reference.weight_decay import Adam, add_l2_gradients_, decay_

LR, DECAY = 0.05, 0.3


def parameters():
    torch.manual_seed(1)
    return [torch.nn.Parameter(torch.randn(*s, dtype=torch.float64)) for s in ((5, 3), (7,), (2, 2))]


def set_gradients(params, step):
    torch.manual_seed(100 + step)
    for p in params:
        p.grad = torch.randn_like(p)
    params[2].grad = None if step == 1 else params[2].grad


def trained(params, step_):
    for step in range(5):
        set_gradients(params, step)
        step_()
    return params


def coupled(params, adam):
    add_l2_gradients_(params, DECAY)
    adam.step_()


def decoupled(params, adam):
    decay_(params, LR, DECAY)
    adam.step_()


@pytest.mark.parametrize(
    ("form", "optimizer"), [(coupled, torch.optim.Adam), (decoupled, torch.optim.AdamW)], ids=["coupled", "decoupled"]
)
def test_adam_equals_torchs(form, optimizer):
    ours, theirs = parameters(), parameters()
    adam = Adam(ours, LR, (0.8, 0.95), 1e-6)
    torchs = optimizer(theirs, LR, (0.8, 0.95), 1e-6, DECAY)
    trained(ours, lambda: form(ours, adam))
    trained(theirs, torchs.step)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_both_forms_are_one_for_sgd_and_two_for_adam():
    def sgd(params, form):
        if form is coupled:
            add_l2_gradients_(params, DECAY)
        else:
            decay_(params, LR, DECAY)
        sgd_(params, LR)

    results = []
    for form in (coupled, decoupled):
        by_sgd, by_adam = parameters(), parameters()
        adam = Adam(by_adam, LR)
        trained(by_sgd, lambda p=by_sgd, form=form: sgd(p, form))
        trained(by_adam, lambda p=by_adam, form=form, adam=adam: form(p, adam))
        results.append((by_sgd, by_adam))
    for a, b in zip(results[0][0], results[1][0], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    assert not torch.allclose(results[0][1][0], results[1][1][0])


def test_coupled_is_the_gradient_of_the_penalty():
    params = parameters()
    set_gradients(params, 0)
    expected = [
        p.grad + g for p, g in zip(params, torch.autograd.grad(DECAY * l2_penalty(params), params), strict=True)
    ]
    add_l2_gradients_(params, DECAY)
    for p, gradient in zip(params, expected, strict=True):
        torch.testing.assert_close(p.grad, gradient, rtol=1e-14, atol=1e-14)


def test_parameters_without_a_gradient_stay():
    params = parameters()
    before = [p.clone() for p in params]
    add_l2_gradients_(params, DECAY)
    decay_(params, LR, DECAY)
    Adam(params).step_()
    assert all(p.grad is None and torch.equal(p, b) for p, b in zip(params, before, strict=True))
