"""`lengths`, the steps of each sample: what may be given, and what to do where something else was. Errors as in `validation`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fusedrnn.context import readable


def as_lengths(lengths: Any, device: torch.device) -> Tensor:
    """`lengths` if it is a tensor, else one on `device` of a list or tuple of integers. Raises a TypeError for all others."""
    if isinstance(lengths, Tensor):
        return lengths
    if not isinstance(lengths, list | tuple):
        raise TypeError(f"lengths: expected a tensor or a list of integers, got {type(lengths).__name__}")
    for each in lengths:
        if not hasattr(each, "__index__"):
            raise TypeError(f"lengths: expected a tensor or a list of integers, got a list with {each!r}")
    return torch.tensor(lengths, dtype=torch.int64, device=device)


_ADVICE = {
    None: ", the number of steps; an input (B, T, ...) has to be transposed: input.transpose(0, 1)",
    False: ", the number of steps; an input (B, T, ...) needs a module with batch_first=True",
    True: ", the number of steps; an input (T, B, ...) needs a module with batch_first=False",
}
"""What may be wrong where there are as many lengths as steps, by `batch_first`."""


def check_shape(lengths: Tensor, input: Tensor, batch_first: bool | None = None) -> None:
    """Raise a ValueError if `lengths` is not (B,); it says what to do with a mask, and in which layout the input is expected.

    Args:
        lengths: of any shape.
        input: (T, B, ...), or (B, T, ...) with `batch_first`.
        batch_first: of the module; None for a function.
    """
    first, second = input.shape[:2]
    steps, batch = (second, first) if batch_first else (first, second)
    shape = tuple(lengths.shape)
    if shape == (batch,):
        return
    if shape in ((steps, batch), (batch, steps)):
        raise ValueError(
            f"lengths: expected the steps of each sample, shape ({batch},), got shape {shape}, a mask; use "
            "lengths=mask.sum(1) if it is (B, T), mask.sum(0) if it is (T, B)"
        )
    advice = _ADVICE[batch_first] if shape == (steps,) else ""
    raise ValueError(f"lengths: expected shape ({batch},), got {shape}{advice}")


def check_lengths(lengths: Tensor, input: Tensor) -> None:
    """Check that `lengths` is (B,) integers from 1 to T on the device of `input`, (T, B, ...); values only if `readable`.

    Raises a TypeError for a wrong dtype, a ValueError for a wrong shape or value, a RuntimeError for a wrong device.
    """
    check_shape(lengths, input)
    if lengths.dtype not in (torch.int32, torch.int64):
        raise TypeError(f"lengths: expected int32 or int64, got {lengths.dtype}")
    if lengths.device != input.device:
        raise RuntimeError(f"lengths: expected device {input.device}, that of the input, got {lengths.device}")
    if not readable(lengths):
        return
    low, high = (int(bound) for bound in torch.aminmax(lengths))
    steps = len(input)
    if low < 1 or high > steps:
        raise ValueError(f"lengths: expected 1 to {steps} (the number of steps), got {low} to {high}")
