"""The L2 penalty, clipping by global norm and gradient descent."""

import pytest
import torch

from fusedrnn.reference.l2 import l2_penalty
from fusedrnn.reference.optim import clip_gradients_, sgd_


def parameters_with_gradients(*values):
    parameters = []
    for value in values:
        parameter = torch.nn.Parameter(torch.randn(torch.tensor(value).shape, dtype=torch.float64))
        parameter.grad = torch.tensor(value, dtype=torch.float64)
        parameters.append(parameter)
    return parameters


def test_gradient_of_the_l2_penalty_is_the_weight():
    weights = [torch.randn(5, 3, requires_grad=True), torch.randn(7, requires_grad=True)]
    for weight, gradient in zip(weights, torch.autograd.grad(l2_penalty(iter(weights)), weights), strict=True):
        torch.testing.assert_close(gradient, weight)


def test_l2_penalty_is_half_the_squared_norm():
    assert l2_penalty([torch.tensor([3.0, 4.0]), torch.tensor([[12.0]])]).item() == pytest.approx((25 + 144) / 2)


def test_weight_decay_is_sgd_on_the_penalty():
    ours, theirs = (torch.nn.Parameter(torch.linspace(-2, 3, 7)) for _ in range(2))
    (0.3 * l2_penalty([ours])).backward()
    sgd_([ours], lr=0.1)
    theirs.grad = torch.zeros_like(theirs)
    torch.optim.SGD([theirs], lr=0.1, weight_decay=0.3).step()
    torch.testing.assert_close(ours, theirs)


def test_clipping_scales_all_gradients_to_the_global_norm():
    parameters = parameters_with_gradients([3.0, 0.0], [[4.0], [12.0]])
    norm = clip_gradients_(parameters, 6.5)
    assert norm.item() == pytest.approx(13.0)
    torch.testing.assert_close(parameters[0].grad, torch.tensor([1.5, 0.0], dtype=torch.float64))
    torch.testing.assert_close(parameters[1].grad, torch.tensor([[2.0], [6.0]], dtype=torch.float64))


def test_clipping_takes_a_generator():
    parameters = parameters_with_gradients([3.0], [4.0])
    assert clip_gradients_((p for p in parameters), 1.0).item() == pytest.approx(5.0)
    torch.testing.assert_close(parameters[0].grad, torch.tensor([0.6], dtype=torch.float64))
    torch.testing.assert_close(parameters[1].grad, torch.tensor([0.8], dtype=torch.float64))


@pytest.mark.parametrize("threshold", [5.0, 7.0])
def test_gradients_within_the_threshold_keep_their_bits(threshold):
    parameters = parameters_with_gradients([3.0], [4.0])
    clip_gradients_(parameters, threshold)
    assert [p.grad.item() for p in parameters] == [3.0, 4.0]


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_zero_gradients_stay_zero(threshold):
    parameters = parameters_with_gradients([0.0, 0.0])
    assert clip_gradients_(parameters, threshold).item() == 0
    assert (parameters[0].grad == 0).all()


def test_parameters_without_gradient_are_passed_over():
    parameters = [torch.nn.Parameter(torch.ones(2)), *parameters_with_gradients([3.0, 4.0])]
    assert clip_gradients_(parameters, 1.0).item() == pytest.approx(5.0)
    sgd_(parameters, lr=0.5)
    assert parameters[0].grad is None
    assert torch.equal(parameters[0], torch.ones(2))


def test_no_gradient_at_all_has_norm_zero():
    assert clip_gradients_([torch.nn.Parameter(torch.ones(2))], 1.0).item() == 0


def test_sgd_steps_against_the_gradient_in_place():
    (parameter,) = parameters_with_gradients([1.0, -2.0, 3.0])
    start, address = parameter.detach().clone(), parameter.data_ptr()
    sgd_((p for p in [parameter]), lr=0.25)
    torch.testing.assert_close(parameter.detach(), start - 0.25 * parameter.grad)
    assert parameter.data_ptr() == address
    assert parameter.requires_grad
    assert parameter.is_leaf


def test_sgd_and_clipping_equal_torch():
    ours, theirs = (torch.nn.Linear(5, 3, dtype=torch.float64) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.7)
    x = torch.randn(11, 5, dtype=torch.float64)
    for _ in range(3):
        ours.zero_grad()
        theirs.zero_grad()
        ours(x).square().sum().backward()
        theirs(x).square().sum().backward()
        clip_gradients_(ours.parameters(), 0.1)
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.1)
        sgd_(ours.parameters(), lr=0.7)
        optimizer.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)  # torch divides by the norm plus 1e-6
