"""Nested tensors (torch.nested): elementwise functions of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def like(input: Tensor, values: Tensor) -> Tensor:
    """`values` as a jagged tensor with the offsets of `input`, which is jagged, so that the two have one ragged size."""
    of: Any = input
    return torch.nested.nested_tensor_from_jagged(
        values, of.offsets(), of.lengths(), of._ragged_idx, of._maybe_min_seqlen, of._maybe_max_seqlen
    )


def elementwise(function: Callable[[Tensor], Tensor], input: Tensor) -> Tensor:
    """Call `function`, which keeps shapes, once for all elements of `input`, jagged or strided; differentiable.

    A strided tensor becomes contiguous. Its parts are joined and split: torch's derivative of a view of its buffer is wrong
    for transposed gradients.
    """
    if input.layout == torch.jagged:
        return like(input, function(input.values()))
    parts = input.unbind()
    if not parts:
        return input.clone()
    flat = function(torch.cat([part.reshape(-1) for part in parts]))
    rows = flat.split([part.numel() for part in parts])
    return torch.nested.as_nested_tensor([row.view(part.shape) for row, part in zip(rows, parts, strict=True)])
