"""The two optimisers of the experiment behind one small interface."""

from collections.abc import Iterable
from typing import Any, Protocol

import torch
from torch import nn

from fusedrnn.reference.optim import sgd_

DEFAULT_LR = {"sgd": 100.0, "adam": 0.01}


class Optimizer(Protocol):
    """What the training loop asks of an optimiser."""

    def zero_grad(self) -> None:
        """Forget the gradients."""

    def step(self) -> object:
        """Change the parameters by their gradients."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take it back."""


class SGD:
    """Plain gradient descent as in the textbook; it remembers nothing.

    A rate of 100 looks absurd. But the gradients are clipped to a global norm of 0.01 first, and their norm before is
    0.2 to 1.3, so clipping acts on every step: what is made is a step of length 100 x 0.01 = 1 along the gradient.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float) -> None:
        self.parameters = list(parameters)
        self.lr = lr

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def step(self) -> None:
        """Take p <- p - lr * gradient."""
        sgd_(self.parameters, self.lr)

    def state_dict(self) -> dict[str, Any]:
        """Return the empty memory."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the empty memory back."""


def build_optimizer(name: str, parameters: Iterable[nn.Parameter], lr: float) -> Optimizer:
    """Build "sgd" or "adam" for these parameters."""
    if name == "sgd":
        return SGD(parameters, lr)
    return torch.optim.Adam(list(parameters), lr=lr)
