"""Dropout with a mask that depends only on (seed, element index), so that the backward recomputes it instead of storing it.

Element i of a tensor, in row-major order of its shape for any strides, is kept if its random word (see `philox.random_words`) is at
least p * 2^32. A dropped element is exactly zero, also if it was NaN or infinite.
"""

import math

import torch
from torch import Tensor

from .philox import random_words

CHUNK = 1 << 18
"""Elements per chunk on a CPU, so that the words stay in its cache; on a GPU 64 times as many, to have fewer kernel launches."""


def threshold(p: float) -> int:
    """The smallest word that is kept: p * 2^32, rounded, at most 2^32 - 1; for `p` = 1 it is 2^32, so that no word is kept."""
    return 1 << 32 if p == 1 else min(round(p * 2**32), (1 << 32) - 1)


def kept(seed: Tensor, p: float, count: int, first: int = 0) -> Tensor:
    """Whether elements `first` to `first + count - 1` are kept.

    Args:
        seed: one int64, any of the 2^64.
        p: probability of dropping an element, 0 to 1.
        count: number of elements.
        first: index of the first element.

    Returns:
        (count,) booleans on the device of `seed`.
    """
    if p in (0, 1) or count == 0:
        return torch.full((count,), p == 0, device=seed.device)
    limit = threshold(p)
    chunk = CHUNK if seed.device.type == "cpu" else 64 * CHUNK
    starts = range(first, first + count, chunk)
    return torch.cat([random_words(seed, start, min(chunk, first + count - start)) >= limit for start in starts])


def counter_dropout(x: Tensor, p: float, seed: Tensor, shared_dims: int = 0) -> Tensor:
    """Zero each element with probability `p` and multiply the rest by 1 / (1 - p).

    Products are formed in float64 for float64, else in float32, and rounded once.

    Args:
        x: any shape, floating point.
        p: probability of dropping an element, 0 to 1.
        seed: one int64 on the device of `x`.
        shared_dims: number of leading dimensions that share one mask, which has the other dimensions; 1 for a time-major
            sequence is variational dropout (Gal & Ghahramani, "A theoretically grounded application of dropout in recurrent
            neural networks", 2016).

    Returns:
        A tensor with the shape and dtype of `x`.
    """
    shape = x.shape[shared_dims:]
    return _drop(x, kept(seed, p, math.prod(shape)).view(shape), p)


def bias_relu_dropout(x: Tensor, bias: Tensor, p: float, seed: Tensor) -> Tensor:
    """Dropout of max(x + bias, 0), rounded once. `bias` has the size of the last dimension of `x`; see `counter_dropout`."""
    wide = _computed_in(x.dtype)
    return _drop(torch.relu(x.to(wide) + bias.to(wide)), kept(seed, p, x.numel()).view(x.shape), p).to(x.dtype)


def bias_relu_dropout_gradient(grad: Tensor, y: Tensor, p: float) -> Tensor:
    """Gradient of x from the gradient `grad` of y = `bias_relu_dropout(x, ...)`: it is zero exactly where y is zero."""
    if p == 1:
        return torch.zeros_like(grad)
    wide = _computed_in(grad.dtype)
    return torch.where(y <= 0, 0.0, grad.to(wide) * (1 / (1 - p))).to(grad.dtype)


def _drop(x: Tensor, mask: Tensor, p: float) -> Tensor:
    scale = 1 / (1 - p) if p < 1 else 0.0
    return torch.where(mask, x.to(_computed_in(x.dtype)) * scale, 0.0).to(x.dtype)


def _computed_in(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32
