"""Every error that a user of the layers can meet: expected what, got what, of the type that torch.nn raises."""

from __future__ import annotations

import torch
from torch import Tensor

from fusedrnn.circumstances import autocast_dtype, readable


def check_dtype(input: Tensor, weight: Tensor) -> None:
    """Floating-point input has the weights' dtype, unless autocast will see to that."""
    if input.dtype != weight.dtype and autocast_dtype(input.device) is None:
        raise ValueError(f"RNN input dtype ({input.dtype}) does not match weight dtype ({weight.dtype})")


def check_device(input: Tensor, weight: Tensor) -> None:
    """Input and weights are on one device."""
    if input.device != weight.device:
        raise RuntimeError(f"input: expected device {weight.device}, where the weights are, got {input.device}")


def check_features(input: Tensor, input_size: int) -> None:
    """The last dimension is input_size."""
    if input.shape[-1] != input_size:
        raise RuntimeError(f"input.size(-1) must be equal to input_size. Expected {input_size}, got {input.shape[-1]}")


def check_ids(ids: Tensor, input_size: int) -> None:
    """Token ids are from 0 to input_size - 1.

    Reads two numbers back from the device; skipped where that cannot be done: tracing, torch.func, CUDA graph capture, no data.
    """
    if not readable(ids):
        return
    low, high = (int(bound) for bound in torch.aminmax(ids))
    if low < 0 or high >= input_size:
        raise IndexError(f"token ids: expected 0 to {input_size - 1} (input_size - 1), got {low} to {high}")


def check_steps(steps: int) -> None:
    """At least one time step."""
    if steps < 1:
        raise RuntimeError(f"Expected sequence length to be larger than 0 in RNN, got {steps}")


def check_state(name: str, state: Tensor, expected: tuple[int, ...], weight: Tensor) -> None:
    """A state has the shape, dtype and device that the call needs."""
    if tuple(state.shape) != expected:
        raise RuntimeError(f"Expected {name} size {expected}, got {list(state.shape)}")
    if state.dtype != weight.dtype and autocast_dtype(state.device) is None:
        raise ValueError(f"{name}: expected dtype {weight.dtype}, that of the weights, got {state.dtype}")
    if state.device != weight.device:
        raise RuntimeError(f"{name}: expected device {weight.device}, where the weights are, got {state.device}")


def check_lengths(lengths: Tensor, steps: int, batch: int) -> None:
    """(B,) integers from 1 to T."""
    if lengths.dtype not in (torch.int32, torch.int64):
        raise TypeError(f"lengths: expected int32 or int64, got {lengths.dtype}")
    if tuple(lengths.shape) != (batch,):
        raise ValueError(f"lengths: expected shape ({batch},), got {tuple(lengths.shape)}")
    if not readable(lengths):
        return
    low, high = (int(bound) for bound in torch.aminmax(lengths))
    if low < 1 or high > steps:
        raise ValueError(f"lengths: expected 1 to {steps} (the number of steps), got {low} to {high}")
