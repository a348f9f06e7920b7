"""Checks of what modules are given: layouts of their input and states, and their weights. Errors as those of `validation`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from fusedrnn.call import Weights
from fusedrnn.validation import IDS, check_device, check_dtype, check_state_kind, check_tensor


def check_flat(names: Sequence[str], weights: Weights, num_layers: int) -> None:
    """Raise a TypeError if a weight of a module is None, a RuntimeError if its attributes require other weights than it has."""
    for name, weight in zip(names, weights.flat, strict=True):
        if weight is None:
            raise TypeError(f"{name}: expected a tensor, got None")
    expected, bidirectional = num_layers * weights.directions * weights.count, weights.directions == 2
    if len(weights.flat) != expected:
        asked = f"num_layers={num_layers}, bidirectional={bidirectional}, bias={weights.bias}"
        projected = ", a projection" if weights.projected else ""
        raise RuntimeError(f"weights: expected {expected} for {asked}{projected}, got {len(weights.flat)}")


def check_input_dims(name: str, input: Tensor) -> int:
    """Return 3 for batched, 2 for unbatched input of a module, else raise a ValueError. Token ids have one dimension less."""
    dims = input.dim() + (input.dtype in IDS and input.dim() < 3)
    if dims not in (2, 3):
        raise ValueError(
            f"{name}: Expected input to be 2D or 3D (token ids: int64 or int32, 1D or 2D), got {input.dim()}D instead"
        )
    return dims


def check_jagged(name: str, input: Any, input_size: int) -> None:
    """Raise a ValueError if nested `input` is not jagged (B, j, I) or token ids (B, j), and a RuntimeError while it is traced."""
    if input.layout != torch.jagged:
        raise ValueError(
            f"{name}: expected a nested tensor of layout torch.jagged, got {input.layout}; "
            "with batch_first=True, input.to_padded_tensor(0) and lengths= serve it too"
        )
    if torch.compiler.is_compiling():  # sizes of packed rows depend on values
        raise RuntimeError(f"{name}: expected a PackedSequence, or lengths=, while traced, got a jagged tensor")
    if input._ragged_idx != 1 or input.dim() != (2 if input.dtype in IDS else 3):
        shape = tuple(input.shape)
        raise ValueError(f"{name}: expected a jagged input (B, j, {input_size}) or token ids (B, j), got {shape}")


def check_packed_resets(resets: Any, input: PackedSequence) -> Tensor | None:
    """The rows of `resets` (N,) for packed `input`; else a TypeError if they are not packed, a ValueError if packed otherwise."""
    if resets is None:
        return None
    if not isinstance(resets, PackedSequence):
        raise TypeError(f"resets: expected a PackedSequence, as the input is, got {type(resets).__name__}")
    if torch.compiler.is_compiling():  # values cannot be compared
        return resets.data
    given, expected = resets.sorted_indices, input.sorted_indices
    same = (given is None) == (expected is None) and torch.equal(resets.batch_sizes, input.batch_sizes)
    if not same or (given is not None and expected is not None and not torch.equal(given, expected)):
        raise ValueError("resets: expected the batch sizes and the order of samples of the input, got others")
    return resets.data


def check_resets_dims(resets: Any, dims: int) -> None:
    """Raise a TypeError if `resets` is no tensor, a ValueError if it does not have `dims` dimensions, one less than the input."""
    check_tensor("resets", resets)
    if resets.dim() != dims:
        raise ValueError(f"resets: expected {dims}-D, without the dimension of features, got {resets.dim()}-D")


def refuse_lengths(lengths: Any, beside: str) -> NoReturn:
    """Raise a ValueError for `lengths` beside an input that has none, or has its own."""
    raise ValueError(f"lengths: expected None with {beside}, got {type(lengths).__name__}")


def check_samples(lengths: Tensor) -> None:
    """Raise a ValueError if a sample of a jagged input has no step; `lengths` (B,) on the CPU."""
    if len(lengths) and int(lengths.min()) < 1:
        raise ValueError(f"input: expected samples of 1 or more steps, got a sample of {int(lengths.min())}")


def check_state_dims(state: Tensor, dims: int) -> None:
    """Raise a RuntimeError if `state` does not have the number of dimensions that `check_input_dims` returned."""
    if state.dim() != dims:
        kind = "batched 3-D" if dims == 3 else "unbatched 2-D"
        raise RuntimeError(f"For {kind} input, hx should also be {dims}-D but got {state.dim()}-D tensor")


def check_packed_state(state: Tensor, batch: int) -> None:
    """Raise a RuntimeError if `state` does not have 3 dimensions with `batch` as the second."""
    if state.dim() != 3 or state.shape[1] != batch:
        raise RuntimeError(f"hx: expected a 3-D tensor with batch {batch}, got {list(state.shape)}")


def check_cell(
    input: Tensor, states: Sequence[tuple[str, Tensor]], weight: Tensor, input_size: int, hidden_size: int
) -> None:
    """Check input (B, I), or ids (B,), and states (B, H) of a cell: ValueError for a dtype, RuntimeError for a size or device."""
    if input.dim() == 2:
        check_dtype(input, weight)
    check_device(input, weight)
    for name, state in states:
        check_state_kind(name, state, weight)
    if input.dim() == 2 and input.shape[1] != input_size:
        raise RuntimeError(f"input has inconsistent input_size: got {input.shape[1]} expected {input_size}")
    for k, (_, state) in enumerate(states):
        if state.dim() != 2:
            raise RuntimeError(f"hidden{k}: expected a batch dimension where the input has one, got {state.dim()}-D")
        if state.shape[1] != hidden_size:
            raise RuntimeError(f"hidden{k} has inconsistent hidden_size: got {state.shape[1]}, expected {hidden_size}")
        if input.shape[0] != state.shape[0]:
            raise RuntimeError(f"Input batch size {input.shape[0]} doesn't match hidden{k} batch size {state.shape[0]}")
