"""Measured gradients and Jacobians of a deep random network."""

from typing import NamedTuple

import torch
from torch import Generator, Tensor

from .activations import ACTIVATIONS
from .initial import initial_weight


class Flow(NamedTuple):
    """Measurements of one network."""

    gradient: Tensor  # mean over the batch of |dL/dh_l|^2 from the input, l = 0, to the output, l = depth: (depth + 1,)
    singular: Tensor  # singular values, descending, of d(output)/d(h_l) for every l: (depth + 1, width)


def measure(activation: str, initialisation: str, width: int, depth: int, batch: int, generator: Generator) -> Flow:
    """Run a random batch through h_l = phi(W_l h_{l-1}) and backpropagate a random gradient of norm about 1.

    Args:
        activation: a name in `activations.ACTIVATIONS`.
        initialisation: a name in `initial.VARIANCE`.
        width: units of every layer.
        depth: number of layers.
        batch: number of samples; the Jacobian is that of the first.
        generator: random generator of weights, batch and gradient.
    """
    function, derivative = ACTIVATIONS[activation]
    weights = [initial_weight(initialisation, width, generator) for _ in range(depth)]
    h = torch.randn(batch, width, generator=generator, dtype=torch.float64, requires_grad=True)
    outputs, slopes = [h], []
    for weight in weights:
        u = outputs[-1] @ weight.t()
        slopes.append(derivative(u[0].detach()))
        outputs.append(function(u))
    direction = torch.randn(batch, width, generator=generator, dtype=torch.float64) / width**0.5
    gradients = torch.autograd.grad((direction * outputs[-1]).sum(), outputs)
    jacobian = torch.eye(width, dtype=torch.float64)
    singular = [torch.ones(width, dtype=torch.float64)]
    for weight, slope in zip(reversed(weights), reversed(slopes), strict=True):
        jacobian = jacobian @ (slope.unsqueeze(1) * weight)
        singular.append(torch.linalg.svdvals(jacobian))
    norms = torch.stack([gradient.pow(2).sum(1).mean() for gradient in gradients])
    return Flow(norms, torch.stack(singular[::-1]))
