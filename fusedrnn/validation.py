"""Every error that a user of the layers can meet: expected what, got what, of the type that torch.nn raises."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from fusedrnn.call import Call, Spec, Weights
from fusedrnn.context import autocast_dtype, readable
from fusedrnn.reference.stack import LayerWeights


def check_tensor(name: str, given: Any) -> None:
    """It is a tensor."""
    if not isinstance(given, Tensor):
        raise TypeError(f"{name}: expected a tensor, got {type(given).__name__}")


def check_pair(hx: Any) -> None:
    """The states of an LSTM are a pair of tensors."""
    if not isinstance(hx, (tuple, list)) or len(hx) != 2:
        raise TypeError(f"hx: expected (h_0, c_0), got {type(hx).__name__}")
    check_tensor("h_0", hx[0])
    check_tensor("c_0", hx[1])


def check_memory(given: str) -> str:
    """It is one of the two ways to come by the gates in the backward."""
    if given not in ("save", "recompute"):
        raise ValueError(f"memory: expected 'save' or 'recompute', got {given!r}")
    return given


def weights_fit(spec: Spec, weights: Weights) -> bool:
    """Whether every weight has the shape that the sizes of the stack ask for."""
    return [weight.shape for weight in weights.flat] == _flat_shapes(spec, weights.bias, weights.projected)


def check_weights(spec: Spec, weights: Weights) -> None:
    """Every weight has the shape that the sizes of the stack ask for."""
    for depth, layer in enumerate(weights.layers):
        if len(layer) != spec.directions:
            raise RuntimeError(f"layer {depth}: expected {spec.directions} directions, as in layer 0, got {len(layer)}")
        for direction in layer:
            for name, weight, shape in zip(LayerWeights._fields, direction, spec.weight_shapes(depth), strict=True):
                if weight is not None and weight.shape != shape:
                    raise RuntimeError(f"{name} of layer {depth}: expected shape {shape}, got {tuple(weight.shape)}")


@lru_cache(maxsize=256)
def _flat_shapes(spec: Spec, bias: bool, projected: bool) -> list[tuple[int, ...]]:
    kept = [True, True, bias, bias, projected]
    directions = [spec.weight_shapes(depth) for depth in range(spec.num_layers) for _ in range(spec.directions)]
    return [shape for shapes in directions for shape, keep in zip(shapes, kept, strict=True) if keep]


def check_input_dims(name: str, input: Tensor) -> int:
    """Input of a module is batched, returns 3, or unbatched, returns 2; token ids have one dimension less."""
    dims = input.dim() + (input.dtype == torch.int64 and input.dim() < 3)
    if dims not in (2, 3):
        raise ValueError(
            f"{name}: Expected input to be 2D or 3D (token ids: int64, 1D or 2D), got {input.dim()}D instead"
        )
    return dims


def check_state_dims(state: Tensor, dims: int) -> None:
    """States are batched where the input is."""
    if state.dim() != dims:
        kind = "batched 3-D" if dims == 3 else "unbatched 2-D"
        raise RuntimeError(f"For {kind} input, hx should also be {dims}-D but got {state.dim()}-D tensor")


def check_packed_state(state: Tensor, batch: int) -> None:
    """A state can be put in the order of a packed batch."""
    if state.dim() != 3 or state.shape[1] != batch:
        raise RuntimeError(f"hx: expected a 3-D tensor with batch {batch}, got {list(state.shape)}")


def check_rank(input: Tensor, expected: int) -> None:
    """Input of a function is (T, B, I), packed (N, I)."""
    if input.dim() != expected:
        raise RuntimeError(f"input must have {expected} dimensions, got {input.dim()}")


def check_dtype(input: Tensor, weight: Tensor) -> None:
    """Floating-point input has the weights' dtype, unless autocast will see to that."""
    if input.dtype != weight.dtype and autocast_dtype(input.device) is None:
        raise ValueError(
            f"RNN input dtype ({input.dtype}) does not match weight dtype ({weight.dtype}). "
            f"Convert input: input.to({weight.dtype}), or convert model: model.to({input.dtype})"
        )


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


def check_call(call: Call) -> None:
    """Weights, input, lengths and initial states of a call fit each other."""
    spec, input, weight = call.spec, call.input, call.weights.flat[0]
    check_weights(spec, call.weights)
    check_memory(spec.memory)
    rank = 3 if call.batch_sizes is None else 2
    if input.dtype == torch.int64 and input.dim() == rank - 1:
        check_device(input, weight)
        check_ids(input, spec.input_size)
    else:
        check_dtype(input, weight)
        check_device(input, weight)
        check_rank(input, rank)
        check_features(input, spec.input_size)
    if call.lengths is not None:
        check_lengths(call.lengths, input)
    if call.states:
        names = ("hidden",) if len(call.states) == 1 else ("hidden[0]", "hidden[1]")
        for name, state, shape in zip(names, call.states, spec.state_shapes(call.batch), strict=True):
            check_state(name, state, shape, weight)
    check_steps(call.steps)
    if call.training:
        check_probability("dropout", spec.dropout)


def check_steps(steps: int) -> None:
    """At least one time step."""
    if steps < 1:
        raise RuntimeError(f"Expected sequence length to be larger than 0 in RNN, got {steps}")


def check_state(name: str, state: Tensor, expected: tuple[int, ...], weight: Tensor) -> None:
    """A state has the shape, dtype and device that the call needs."""
    if tuple(state.shape) != expected:
        raise RuntimeError(f"Expected {name} size {expected}, got {list(state.shape)}")
    check_state_kind(name, state, weight)


def check_state_kind(name: str, state: Tensor, weight: Tensor) -> None:
    """A state has the weights' dtype, unless autocast will see to that, and is on their device."""
    if state.dtype != weight.dtype and autocast_dtype(state.device) is None:
        raise ValueError(f"{name}: expected dtype {weight.dtype}, that of the weights, got {state.dtype}")
    if state.device != weight.device:
        raise RuntimeError(f"{name}: expected device {weight.device}, where the weights are, got {state.device}")


def check_cell(
    input: Tensor, states: Sequence[tuple[str, Tensor]], weight: Tensor, input_size: int, hidden_size: int
) -> None:
    """Input (B, I), or ids (B,), and named states (B, H) of one step fit the cell and each other."""
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


def check_lengths(lengths: Tensor, input: Tensor) -> None:
    """(B,) integers from 1 to T on the device of the input (T, B, ...)."""
    steps, batch = input.shape[:2]
    check_tensor("lengths", lengths)
    if lengths.dtype not in (torch.int32, torch.int64):
        raise TypeError(f"lengths: expected int32 or int64, got {lengths.dtype}")
    if tuple(lengths.shape) != (batch,):
        raise ValueError(f"lengths: expected shape ({batch},), got {tuple(lengths.shape)}")
    if lengths.device != input.device:
        raise RuntimeError(f"lengths: expected device {input.device}, that of the input, got {lengths.device}")
    if not readable(lengths):
        return
    low, high = (int(bound) for bound in torch.aminmax(lengths))
    if low < 1 or high > steps:
        raise ValueError(f"lengths: expected 1 to {steps} (the number of steps), got {low} to {high}")


def check_probability(name: str, p: float) -> float:
    """A number from 0 to 1, NaN excluded; returned as it is."""
    if not 0 <= p <= 1:
        raise ValueError(f"{name}: expected a probability from 0 to 1, got {p}")
    return p


def check_floating(name: str, input: Tensor) -> None:
    """Real numbers that can be scaled."""
    if not input.is_floating_point():
        raise RuntimeError(f"{name}: expected a floating-point input, got {input.dtype}")


def check_writable(name: str, input: Tensor) -> None:
    """No two elements share a place in memory."""
    if any(size > 1 and stride == 0 for size, stride in zip(input.shape, input.stride(), strict=True)):
        raise RuntimeError(f"{name}: expected an input that is not expanded for inplace, got strides {input.stride()}")


def check_bias(bias: Tensor, input: Tensor) -> None:
    """A bias of the last dimension of `input`, like it."""
    if input.dim() == 0 or tuple(bias.shape) != tuple(input.shape[-1:]):
        expected = f"shape {tuple(input.shape[-1:])}, the last dimension of input"
        raise RuntimeError(f"bias: expected {expected}, got {tuple(bias.shape)}")
    if bias.dtype != input.dtype:
        raise RuntimeError(f"bias: expected dtype {input.dtype}, that of input, got {bias.dtype}")
    if bias.device != input.device:
        raise RuntimeError(f"bias: expected device {input.device}, that of input, got {bias.device}")
