"""Inverted dropout (Srivastava et al., "Dropout: a simple way to prevent overfitting", 2014) with torch's random generator."""

import torch
from torch import Tensor


def dropout(x: Tensor, p: float, training: bool = True) -> Tensor:
    """Zero each element with probability `p` and scale the rest by 1 / (1 - p), which preserves the expected value.

    Args:
        x: any shape, floating point.
        p: probability of dropping an element, 0 to 1.
        training: if False, return `x` itself, as for p = 0.

    Returns:
        A tensor with the shape and dtype of `x`.

    Raises:
        ValueError: `p` is not a probability.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"dropout: expected a probability from 0 to 1, got {p}")
    if not training or p == 0:
        return x
    if p == 1:
        return x * 0
    keep = torch.empty_like(x).bernoulli_(1 - p)
    return x * (keep / (1 - p))
