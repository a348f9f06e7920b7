"""The two optimisers of the experiment with a common interface."""

from collections.abc import Iterable
from typing import Any, Protocol

import torch
from torch import nn

from fusedrnn.reference.optim import sgd_


class Optimizer(Protocol):
    """The interface that the training loop needs."""

    def zero_grad(self) -> None:
        """Clear the gradients."""

    def step(self) -> object:
        """Update the parameters."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the optimiser."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of the optimiser."""


class SGD:
    """Plain gradient descent as in the textbook, without state.

    The learning rate is as high as 100 because gradients are clipped to a global norm of 0.01 first. Their norm before
    clipping is 0.2 to 1.3, so every step has length 100 x 0.01 = 1 along the gradient.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float) -> None:
        self.parameters = list(parameters)
        self.lr = lr

    def zero_grad(self) -> None:
        """Clear the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def step(self) -> None:
        """Update p <- p - lr * gradient."""
        sgd_(self.parameters, self.lr)

    def state_dict(self) -> dict[str, Any]:
        """Return an empty state."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Do nothing: there is no state."""


def build_optimizer(name: str, parameters: Iterable[nn.Parameter], lr: float) -> Optimizer:
    """Build "sgd" or "adam" for these parameters."""
    if name == "sgd":
        return SGD(parameters, lr)
    return torch.optim.Adam(list(parameters), lr=lr)
