"""Gradient clipping by global norm, and stochastic gradient descent."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.linalg import vector_norm


@torch.no_grad()
def clip_gradients_(params: Iterable[Tensor], max_norm: float) -> Tensor:
    """Scale all gradients, in place, so that their global norm is at most `max_norm`.

    Pascanu, Mikolov & Bengio, "On the difficulty of training recurrent neural networks" (2013), algorithm 1:
    ``g <- g * max_norm / ||g||`` where ``||g|| > max_norm``. Parameters without a gradient are skipped.

    Args:
        params: any iterable of parameters on one device.
        max_norm: largest norm after clipping.

    Returns:
        The norm before clipping, a scalar tensor.
    """
    gradients = [p.grad for p in params if p.grad is not None]
    if not gradients:
        return torch.zeros((), device="cpu")
    norm: Tensor = vector_norm(torch.stack([vector_norm(g) for g in gradients]))
    scale = torch.where(norm > max_norm, max_norm / norm, 1.0)
    for g in gradients:
        g *= scale
    return norm


@torch.no_grad()
def sgd_(params: Iterable[Tensor], lr: float) -> None:
    """Take one step of stochastic gradient descent in place, ``w <- w - lr * g`` (Robbins & Monro 1951).

    Args:
        params: any iterable of parameters; those without a gradient are not changed.
        lr: learning rate.
    """
    for p in params:
        if p.grad is not None:
            p -= lr * p.grad
