"""torch's own RNN as a backend; where torch has no such call, the sweeps in plain torch operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from fusedrnn.backends import reference as backend_reference
from fusedrnn.backends import triton as backend_triton
from fusedrnn.backends.reference import dropout_between, run_stack
from fusedrnn.call import Call, Result
from fusedrnn.context import autocast_dtype, readable, transformed
from fusedrnn.operators.layer import operator_layer
from fusedrnn.operators.packing import sort_and_pack
from fusedrnn.reference.stack import Layer, LayerWeights

name = "aten"


def refuse(call: Call) -> str | None:
    """Every call can be served."""
    return None


def run(call: Call) -> Result:
    """Run `call`: torch's kernels for what torch.nn offers, else operators with a backward derived by hand.

    With dropout, torch's kernels run layer by layer, for the masks are ours: the same on every backend, and reproduced with the
    random numbers around them, which cuDNN's own are not (it keeps their state in a cache that `torch.manual_seed` does not
    reach). On a CPU torch does the same; on a GPU this gives up that cuDNN runs one layer beside the next.

    Under transforms of torch.func and in forward mode, through which torch's kernels do not pass, the reference's loops run.
    """
    if transformed():
        return backend_reference.run(call)
    between = dropout_between(call, backend_triton.pointwise_engine(call.input))
    compiling = torch.compiler.is_compiling() and not call.input.is_cuda  # torch would unroll T steps into the graph
    unsortable = call.lengths is not None and not readable(call.lengths)
    unknown = call.is_ids or call.cell == "gru_before" or call.all_states or call.recompute
    by_hand = _better_by_hand(call)
    if unknown or call.input.is_meta or compiling or unsortable or by_hand:
        layer = operator_layer("unrolled", call.cell, keep_gates=not call.recompute)
        output, finals, every = run_stack(call, layer, between)
        if by_hand:  # torch's own lets the caller change its output, which these sweeps need in the backward
            output = output.clone()
        return output, finals, every
    if call.seeds is not None:
        return run_stack(call, _torch_layer(call), between)
    if call.batch_sizes is not None:
        return *_packed(call, call.input, call.batch_sizes, call.states), ()
    if call.lengths is not None:
        return *_with_lengths(call, call.lengths), ()
    output, *states = _torch(call.cell)(call.input, _hx(call.states), call.weights, *_options(call), False)
    return output, tuple(states), ()


def derived_by_hand(cell: str, input: Tensor, others: Sequence[Tensor], T: int, B: int, H: int) -> bool:
    """Whether the sweeps whose backward is derived by hand train faster than torch's own RNN.

    On a CPU torch differentiates a GRU step by step; the sweeps do what they can for all steps at once. Where steps are many and
    small that wins, by 1.1 to 2 times; elsewhere products and memory dominate. An LSTM is oneDNN's, which is faster than both.
    Measured by benchmarks/cpu_pairs.py.
    """
    many, small = T >= 32 or H >= 256, B <= 8 or B * H <= 1024
    if cell != "gru" or not input.is_cpu or not (many and small):
        return False
    if not torch.is_grad_enabled() or input.dtype not in (torch.float32, torch.float64) or autocast_dtype(input.device):
        return False
    return input.requires_grad or any(other.requires_grad for other in others)


def _better_by_hand(call: Call) -> bool:
    if call.batch_sizes is not None or call.lengths is not None:
        return False
    T, B = call.input.shape[:2]
    return derived_by_hand(call.cell, call.input, [*call.states, *call.weights], T, B, call.hidden_size)


def _torch_layer(call: Call) -> Layer:
    """A layer of `call` on torch's kernels."""

    def layer(
        x: Tensor, states: tuple[Tensor, ...], directions: Sequence[LayerWeights], lengths: Tensor | None
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        one = replace(call, input=x, batch_sizes=None, lengths=lengths, states=states, layers=[directions], seeds=None)
        output, finals, _ = run(one)
        return (torch.unflatten(output, -1, (len(directions), -1)),), finals

    return layer


def _torch(cell: str) -> Callable[..., tuple[Tensor, ...]]:
    return torch.lstm if cell == "lstm" else torch.gru


def _hx(states: tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...]:
    return states if len(states) == 2 else states[0]


def _options(call: Call) -> tuple[bool, int, float, bool, bool]:
    has_bias = call.layers[0][0].b_ih is not None
    return has_bias, len(call.layers), 0.0, call.training, call.directions == 2


def _packed(
    call: Call, data: Tensor, batch_sizes: Tensor, states: tuple[Tensor, ...]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    output, *finals = _torch(call.cell)(data, batch_sizes, _hx(states), call.weights, *_options(call))
    return output, tuple(finals)


def _with_lengths(call: Call, lengths: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Sort by length, pack, run, and put everything back in the caller's order, padded to T."""
    packed = sort_and_pack(call.input, lengths)
    order, inverse = packed.sorted_indices, packed.unsorted_indices
    assert order is not None
    assert inverse is not None
    states = tuple(state.index_select(1, order) for state in call.states)
    output, finals = _packed(call, packed.data, packed.batch_sizes, states)
    packed = PackedSequence(output, packed.batch_sizes, order, inverse)
    padded, _ = pad_packed_sequence(packed, total_length=len(call.input))
    return padded, tuple(state.index_select(1, inverse) for state in finals)
