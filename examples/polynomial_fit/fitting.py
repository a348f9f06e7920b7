"""Two ways to fit a polynomial: gradient descent as in the textbook, and least squares."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from .data import Samples, powers


@dataclass(frozen=True)
class Fit:
    """Parameters found by gradient descent, and mean squared errors after every epoch (inf after divergence)."""

    weights: list[float]
    bias: float
    train: list[float]
    test: list[float]


def fit_by_descent(train: Samples, test: Samples, degree: int, epochs: Iterable[int], seed: int) -> Fit:
    """Train nn.Linear on powers of x: squared error, SGD with learning rate 0.01, shuffled minibatches of min(10, n)."""
    torch.manual_seed(seed)
    inputs, labels = powers(train.x, degree).float(), train.y.float().unsqueeze(1)
    net = nn.Linear(degree, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    errors: list[tuple[float, float]] = []
    for _ in epochs:
        for places in torch.randperm(len(train)).split(10):
            optimizer.zero_grad()
            mse_loss(net(inputs[places]), labels[places]).backward()
            optimizer.step()
        errors.append((_error(net, train), _error(net, test)))
    on_train, on_test = zip(*errors, strict=True)
    return Fit(net.weight[0].tolist(), net.bias.item(), list(on_train), list(on_test))


def squared_errors(train: Samples, test: Samples, degree: int) -> Tensor:
    """Fit by least squares on `train`; return the squared error of every sample of `test`, (len(test),).

    Gradient descent would need a smaller learning rate for every degree above 3.
    """
    columns, others = (torch.nn.functional.pad(powers(s.x, degree), (1, 0), value=1.0) for s in (train, test))
    solution = torch.linalg.lstsq(columns, train.y.unsqueeze(1), driver="gelsd").solution
    errors: Tensor = (others @ solution).squeeze(1).sub(test.y).square()
    return errors


@torch.no_grad()
def _error(net: nn.Linear, samples: Samples) -> float:
    error = mse_loss(net(powers(samples.x, net.in_features).float()).squeeze(1), samples.y.float()).item()
    return error if math.isfinite(error) else math.inf
