"""The compared activation functions and their derivatives."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Activation(NamedTuple):
    """A function and its derivative, elementwise."""

    function: Callable[[Tensor], Tensor]
    derivative: Callable[[Tensor], Tensor]


ACTIVATIONS = {
    "linear": Activation(torch.clone, torch.ones_like),
    "sigmoid": Activation(torch.sigmoid, lambda u: torch.sigmoid(u) * (1 - torch.sigmoid(u))),
    "tanh": Activation(torch.tanh, lambda u: 1 - torch.tanh(u) ** 2),
    "relu": Activation(torch.relu, lambda u: (u > 0).to(u.dtype)),
}
