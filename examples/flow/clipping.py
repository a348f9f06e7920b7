"""Training a plain RNN whose gradients explode, with and without clipping by global norm."""

from typing import NamedTuple

import torch
from torch import nn
from torch.nn.functional import mse_loss

from fusedrnn.reference.optim import clip_gradients_, sgd_

from .recurrent import Case, Net


class Training(NamedTuple):
    """Lists with one value per update."""

    loss: list[float]
    gradient: list[float]  # global norm before clipping
    step: list[float]  # norm of the change of the parameters


def train(threshold: float, backend: str, *, updates: int, seed: int, lr: float = 0.1, steps: int = 30) -> Training:
    """Train a net to output at the last step a sign given at the first; W_hh starts as 2 x orthogonal.

    Args:
        threshold: largest global norm of the gradient; infinity means no clipping.
        backend: backend of the net.
        updates: number of steps of gradient descent, each on 32 new sequences.
        seed: random seed of weights and sequences.
        lr: learning rate.
        steps: length of a sequence.
    """
    torch.manual_seed(seed)
    net = Net(Case("rnn", scale=2.0), 1, 32, backend)
    head = nn.Linear(32, 1).double()
    parameters = [*net.parameters(), *head.parameters()]
    losses, gradients, lengths = [], [], []
    for _ in range(updates):
        x = 0.1 * torch.randn(steps, 32, 1, dtype=torch.float64)
        sign = torch.randint(2, (32, 1)) * 2.0 - 1
        x[0] += sign
        _, (h,) = net(x, net.zero_state(32))
        loss = mse_loss(head(h[0]), sign.double())
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.grad = gradient
        before = nn.utils.parameters_to_vector(parameters).detach()
        gradients.append(clip_gradients_(parameters, threshold).item())
        sgd_(parameters, lr)
        losses.append(loss.item())
        lengths.append((nn.utils.parameters_to_vector(parameters).detach() - before).norm().item())
    return Training(losses, gradients, lengths)
