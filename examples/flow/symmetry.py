"""Symmetry: hidden units with equal initial weights stay equal, because they get the same gradient in every step."""

from typing import NamedTuple

import torch
from torch import Generator, nn
from torch.nn.functional import mse_loss

from fusedrnn.reference.optim import sgd_

STARTS = ("zero", "constant", "random")


class Symmetry(NamedTuple):
    """Results of training from one kind of initial weights."""

    loss: list[float]  # after every step
    spread: float  # largest difference between two hidden units' outputs, over all samples
    variance: float  # of the targets: the loss of the best constant


def train(start: str, steps: int, generator: Generator, width: int = 16, lr: float = 0.1) -> Symmetry:
    """Fit sin(2 x_1) cos(x_2) with two hidden tanh layers.

    Args:
        start: "zero" (all weights 0), "constant" (all weights of a layer 1 / fan_in) or "random" (Glorot).
        steps: number of steps of gradient descent on all 256 samples.
        generator: random generator of samples and weights.
        width: units of a hidden layer.
        lr: learning rate.
    """
    x = torch.rand(256, 2, generator=generator, dtype=torch.float64) * 4 - 2
    target = torch.sin(2 * x[:, :1]) * torch.cos(x[:, 1:])
    hidden = nn.Sequential(nn.Linear(2, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh()).double()
    head = nn.Linear(width, 1).double()
    parameters = [*hidden.parameters(), *head.parameters()]
    with torch.no_grad():
        for parameter in parameters:
            fan_in = parameter.shape[-1]
            if parameter.dim() == 1 or start == "zero":
                parameter.zero_()
            elif start == "constant":
                parameter.fill_(1 / fan_in)
            else:
                parameter.normal_(0, fan_in**-0.5, generator=generator)
    losses = []
    for _ in range(steps):
        loss = mse_loss(head(hidden(x)), target)
        losses.append(loss.item())
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.grad = gradient
        sgd_(parameters, lr)
    with torch.no_grad():
        outputs = hidden(x)
    spread = (outputs.amax(1) - outputs.amin(1)).max().item()
    return Symmetry(losses, spread, target.var(unbiased=False).item())
