"""Checks of arguments. An error says what was expected and what was given, and has the type that torch.nn raises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fusedrnn.call import Call, Spec, Weights
from fusedrnn.context import autocast_dtype, readable
from fusedrnn.kernels.cell import NUMBERS
from fusedrnn.length_checks import check_lengths
from fusedrnn.option_checks import check_extras, check_memory
from fusedrnn.reference.loop import active_steps
from fusedrnn.reference.stack import LayerWeights


def check_tensor(name: str, given: Any) -> None:
    """Raise a TypeError if `given` is not a tensor."""
    if not isinstance(given, Tensor):
        raise TypeError(f"{name}: expected a tensor, got {type(given).__name__}")


def check_module(name: str, given: Any) -> None:
    """Raise a TypeError if `given` is not an `nn.Module`."""
    if not isinstance(given, nn.Module):
        raise TypeError(f"{name}: expected a torch.nn.Module, got {type(given).__name__}")


def check_options(name: str, options: Mapping[str, Any], known: type) -> None:
    """Raise a TypeError, as Python does for a call of `name`, if `options` has one that the TypedDict `known` lacks."""
    unknown = next((option for option in options if option not in known.__annotations__), None)
    if unknown is not None:
        raise TypeError(f"{name}() got an unexpected keyword argument {unknown!r}")


def check_pair(hx: Any) -> None:
    """Raise a TypeError if `hx` is not a pair of tensors (h_0, c_0)."""
    if not isinstance(hx, (tuple, list)) or len(hx) != 2:
        raise TypeError(f"hx: expected (h_0, c_0), got {type(hx).__name__}")
    check_tensor("h_0", hx[0])
    check_tensor("c_0", hx[1])


def check_weights(spec: Spec, weights: Weights) -> None:
    """Raise a RuntimeError if a layer has the wrong number of directions or a weight the wrong shape."""
    if spec.directions not in (1, 2):
        raise RuntimeError(f"layer 0: expected 1 or 2 directions, got {spec.directions}")
    if weights.projected and not NUMBERS[spec.cell].has_c:
        raise RuntimeError("w_hr of layer 0: expected None, for only an LSTM has a projection, got a tensor")
    for depth, layer in enumerate(weights.layers):
        if len(layer) != spec.directions:
            raise RuntimeError(f"layer {depth}: expected {spec.directions} directions, as in layer 0, got {len(layer)}")
        for direction in layer:
            wanted = (2 + 2 * NUMBERS[spec.cell].has_c) * spec.layer_norm
            gains = [gain for gain in direction[5:] if gain is not None]
            if len(gains) != wanted:
                raise RuntimeError(f"layer {depth}: expected {wanted} weights of layer normalisation, got {len(gains)}")
            dtype = direction.w_ih.dtype
            if wrong := [gain.dtype for gain in gains if gain.dtype != dtype]:
                raise ValueError(f"layer {depth}: expected gains of dtype {dtype}, that of w_ih, got {wrong[0]}")
            for name, weight, shape in zip(LayerWeights._fields, direction, spec.weight_shapes(depth), strict=True):
                if weight is not None and weight.shape != shape:
                    raise RuntimeError(f"{name} of layer {depth}: expected shape {shape}, got {tuple(weight.shape)}")


IDS = (torch.int64, torch.int32)
"""Dtypes of token ids, those of `nn.Embedding`."""


def as_ids(input: Tensor, rank: int) -> Tensor:
    """`input` as int64 if it is token ids of another dtype; features would have `rank` dimensions."""
    return input.long() if input.dtype in IDS and input.dim() < rank else input


def check_rank(input: Tensor, expected: int) -> None:
    """Raise a RuntimeError if `input` does not have `expected` dimensions: 3 for (T, B, I), 2 for packed (N, I)."""
    if input.dim() != expected:
        raise RuntimeError(f"input must have {expected} dimensions, got {input.dim()}")


def check_dtype(input: Tensor, weight: Tensor) -> None:
    """Raise a ValueError if `input` and `weight` have different dtypes, unless autocast is on."""
    if input.dtype == weight.dtype or (autocast_dtype(input.device) is not None and input.is_floating_point()):
        return
    advice = f"Convert input: input.to({weight.dtype}), or convert model: model.to({input.dtype})"
    if not (input.is_floating_point() or input.is_complex()):
        ids = (
            "int64 or int32: input.long()"
            if input.dtype not in IDS
            else "without a dimension for features: input.squeeze(-1)"
        )
        advice = f"Convert features: input.to({weight.dtype}). Token ids are expected {ids}"
    raise ValueError(f"RNN input dtype ({input.dtype}) does not match weight dtype ({weight.dtype}). {advice}")


def check_device(input: Tensor, weight: Tensor) -> None:
    """Raise a RuntimeError if `input` and `weight` are on different devices."""
    if input.device != weight.device:
        raise RuntimeError(f"input: expected device {weight.device}, where the weights are, got {input.device}")


def check_features(input: Tensor, input_size: int) -> None:
    """Raise a RuntimeError if the last dimension of `input` is not `input_size`."""
    if input.shape[-1] != input_size:
        raise RuntimeError(f"input.size(-1) must be equal to input_size. Expected {input_size}, got {input.shape[-1]}")


def check_ids(ids: Tensor, input_size: int, lengths: Tensor | None) -> None:
    """Raise an IndexError if an id (T, B) within `lengths` is not from 0 to input_size - 1, as `nn.Embedding` does.

    Copies two values to the host; skipped if not `readable`: then the lookup itself has to refuse the id.
    """
    if not readable(ids) or not (lengths is None or readable(lengths)):
        return
    if lengths is not None:
        ids = ids.masked_fill(~active_steps(lengths, len(ids)), 0)
    low, high = (int(bound) for bound in torch.aminmax(ids))
    if low < 0 or high >= input_size:
        raise IndexError(f"token ids: expected 0 to {input_size - 1} (input_size - 1), got {low} to {high}")


def check_call(call: Call) -> None:
    """Run all checks of a call: weights, memory, input, lengths, states, steps, dropout. Raises the errors of these checks."""
    spec, input, weight = call.spec, call.input, call.weights.flat[0]
    check_extras(spec, projected=call.weights.projected)
    check_weights(spec, call.weights)
    check_memory(spec.memory)
    rank = 3 if call.batch_sizes is None else 2
    if input.dtype == torch.int64 and input.dim() == rank - 1:
        check_device(input, weight)
    else:
        check_dtype(input, weight)
        check_device(input, weight)
        check_rank(input, rank)
        check_features(input, spec.input_size)
    if call.lengths is not None:
        if call.batch_sizes is not None:
            raise ValueError("lengths: expected None with batch_sizes, which say them, got a tensor")
        check_lengths(call.lengths, input)
    if call.resets is not None:
        check_resets(call.resets, input, packed=call.batch_sizes is not None)
    if input.dtype == torch.int64:
        check_ids(input, spec.input_size, call.lengths)
    if call.states:
        names = ("hidden",) if len(call.states) == 1 else ("hidden[0]", "hidden[1]")
        for name, state, shape in zip(names, call.states, spec.state_shapes(call.batch), strict=True):
            check_state(name, state, shape, weight)
    check_steps(call.steps)
    if call.training:
        check_probability("dropout", spec.dropout)


def check_steps(steps: int) -> None:
    """Raise a RuntimeError if there is no time step."""
    if steps < 1:
        raise RuntimeError(f"Expected sequence length to be larger than 0 in RNN, got {steps}")


def check_state(name: str, state: Tensor, expected: tuple[int, ...], weight: Tensor) -> None:
    """Raise a RuntimeError if `state` does not have shape `expected`, and the errors of `check_state_kind`."""
    if tuple(state.shape) != expected:
        raise RuntimeError(f"Expected {name} size {expected}, got {list(state.shape)}")
    check_state_kind(name, state, weight)


def check_state_kind(name: str, state: Tensor, weight: Tensor) -> None:
    """Raise a ValueError if `state` and `weight` differ in dtype, unless autocast is on, and a RuntimeError if in device."""
    if state.dtype != weight.dtype and autocast_dtype(state.device) is None:
        raise ValueError(f"{name}: expected dtype {weight.dtype}, that of the weights, got {state.dtype}")
    if state.device != weight.device:
        raise RuntimeError(f"{name}: expected device {weight.device}, where the weights are, got {state.device}")


def check_resets(resets: Tensor, input: Tensor, *, packed: bool) -> None:
    """Check that `resets` is bool, (T, B), or (N,) for packed rows, on the device of `input`.

    Raises a TypeError for a wrong type or dtype, a ValueError for a wrong shape, a RuntimeError for a wrong device.
    """
    check_tensor("resets", resets)
    if resets.dtype != torch.bool:
        raise TypeError(f"resets: expected torch.bool, got {resets.dtype}")
    expected = tuple(input.shape[: 1 if packed else 2])
    if tuple(resets.shape) != expected:
        raise ValueError(f"resets: expected shape {expected}, steps and samples, got {tuple(resets.shape)}")
    if resets.device != input.device:
        raise RuntimeError(f"resets: expected device {input.device}, that of the input, got {resets.device}")


def check_probability(name: str, p: float) -> float:
    """Return `p` if it is from 0 to 1, else raise a ValueError, also for NaN, or a TypeError if it is no number."""
    try:
        valid = 0 <= p <= 1
    except TypeError:
        raise TypeError(f"{name}: expected a probability from 0 to 1, got {p!r}") from None
    if not valid:
        raise ValueError(f"{name}: expected a probability from 0 to 1, got {p}")
    return p


def check_shared_dims(given: Any, dims: int | None = None) -> int:
    """Return `given` if it is a number of leading dimensions, of `dims` if these are known; else a TypeError or a ValueError."""
    if not isinstance(given, int):
        raise TypeError(f"shared_dims: expected a number of leading dimensions, got {given!r}")
    if dims is None and given < 0:
        raise ValueError(f"shared_dims: expected 0 or more, got {given}")
    if dims is not None and not 0 <= given <= dims:
        raise ValueError(f"shared_dims: expected 0 to {dims} (the dimensions of input), got {given}")
    return given


def check_floating(name: str, input: Tensor) -> None:
    """Raise a RuntimeError if `input` is not floating point."""
    if not input.is_floating_point():
        raise RuntimeError(f"{name}: expected a floating-point input, got {input.dtype}")


def check_writable(name: str, input: Tensor) -> None:
    """Raise a RuntimeError if `input` is expanded (a stride is 0), so that elements share memory."""
    if any(size > 1 and stride == 0 for size, stride in zip(input.shape, input.stride(), strict=True)):
        raise RuntimeError(f"{name}: expected an input that is not expanded for inplace, got strides {input.stride()}")


def check_nested_in_place(p: float) -> None:
    """Raise a RuntimeError if dropout of a nested tensor in place has a `p` that is not 1: torch has no such operator."""
    if p != 1:
        raise RuntimeError(f"dropout: expected p of 0 or 1 for a nested input and inplace, got {p}")


def check_bias(bias: Tensor, input: Tensor) -> None:
    """Raise a RuntimeError if `bias` does not have the size of the last dimension of `input`, its dtype and its device."""
    if input.dim() == 0 or tuple(bias.shape) != tuple(input.shape[-1:]):
        expected = f"shape {tuple(input.shape[-1:])}, the last dimension of input"
        raise RuntimeError(f"bias: expected {expected}, got {tuple(bias.shape)}")
    if bias.dtype != input.dtype:
        raise RuntimeError(f"bias: expected dtype {input.dtype}, that of input, got {bias.dtype}")
    if bias.device != input.device:
        raise RuntimeError(f"bias: expected device {input.device}, that of input, got {bias.device}")
