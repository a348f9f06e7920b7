"""Coupled and decoupled weight decay, after Loshchilov & Hutter, "Decoupled weight decay regularization" (2019), and Adam.

Coupled: the gradient of the L2 penalty, lambda w, is added to the gradient before the step, so that an adaptive optimiser rescales
it too. Decoupled: lr lambda w is subtracted from the weights directly. Both are the same for plain SGD, but not for Adam.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


@torch.no_grad()
def add_l2_gradients_(params: Sequence[Tensor], weight_decay: float) -> None:
    """Coupled: ``g <- g + lambda w`` for every parameter that has a gradient; call it before the step."""
    for p in params:
        if p.grad is not None:
            p.grad += weight_decay * p


@torch.no_grad()
def decay_(params: Sequence[Tensor], lr: float, weight_decay: float) -> None:
    """Decoupled: ``w <- w - lr lambda w`` for every parameter that has a gradient; call it before the step."""
    for p in params:
        if p.grad is not None:
            p -= lr * weight_decay * p


class Adam:
    """Adam (Kingma & Ba, "Adam: a method for stochastic optimization", 2015, algorithm 1).

    ``m <- b1 m + (1 - b1) g``, ``v <- b2 v + (1 - b2) g^2``, ``w <- w - lr m^ / (sqrt(v^) + eps)`` with ``m^ = m / (1 - b1^t)``
    and ``v^ = v / (1 - b2^t)`` at step t. With ``add_l2_gradients_`` before each step it equals `torch.optim.Adam` with
    ``weight_decay``, with ``decay_`` `torch.optim.AdamW`.

    Args:
        params: parameters; those without a gradient are not changed.
        lr: learning rate.
        betas: decay rates of the two moving averages.
        eps: added to the denominator for numerical stability.
    """

    def __init__(
        self, params: Sequence[Tensor], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
    ) -> None:
        self.params = list(params)
        self.lr, self.betas, self.eps = lr, betas, eps
        self.steps = [0] * len(self.params)
        self.m = [torch.zeros_like(p) for p in self.params]
        self.v = [torch.zeros_like(p) for p in self.params]

    @torch.no_grad()
    def step_(self) -> None:
        """Update the parameters in place."""
        b1, b2 = self.betas
        for k, p in enumerate(self.params):
            if p.grad is None:
                continue
            self.steps[k] += 1
            self.m[k] = b1 * self.m[k] + (1 - b1) * p.grad
            self.v[k] = b2 * self.v[k] + (1 - b2) * p.grad**2
            m, v = self.m[k] / (1 - b1 ** self.steps[k]), self.v[k] / (1 - b2 ** self.steps[k])
            p -= self.lr * m / (v.sqrt() + self.eps)
