"""torch's own GRU and LSTM as a backend: cuDNN on a GPU, oneDNN or ATen on a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence
from torch.utils import backend_registration

from fusedrnn.backends import triton
from fusedrnn.backends.stack import dropout_between, run_stack
from fusedrnn.call import Call, Result, States, Weights
from fusedrnn.operators.packing import sort_and_pack
from fusedrnn.reference.stack import Layer, LayerWeights


def run(call: Call) -> Result:
    """Run `call`: the whole stack in one call of torch's function, or with dropout layer by layer. No states are zeros.

    The dropout masks are this package's: identical on every backend, and reproducible with torch's generators, unlike cuDNN's
    masks (it keeps their state in a cache that `torch.manual_seed` does not reset). On a CPU torch runs layer by layer too; on a
    GPU cuDNN no longer runs layers in parallel.
    """
    if call.seeds is not None:
        return run_stack(call, _layer(call), dropout_between(call, triton.pointwise_engine(call.input)))
    if call.lengths is not None:
        return _with_lengths(call, call.lengths)
    spec, weights, states = call.spec, call.weights, call.states or call.zeros()
    options = (weights.bias, spec.num_layers, 0.0, call.training, spec.directions == 2)
    output, finals = call_torch(spec.cell, call.input, call.batch_sizes, states, weights.flat, options)
    return output, finals, ()


def runs_on(device: torch.device, cell: str) -> bool:
    """Whether torch's functions for `cell`, "gru" or "lstm", run on `device`; they do on all devices of torch itself.

    On a device of another package (torch's key PrivateUse1) they need a kernel of its own: of one step, or of the function.
    """
    if device.type in ("cpu", "cuda") or device.type != backend_registration._privateuse1_backend_name:
        return True
    if torch.compiler.is_compiling():  # cannot trace the question
        return False
    has = torch._C._dispatch_has_kernel_for_dispatch_key
    step, function = f"aten::_thnn_fused_{cell}_cell", f"aten::{cell}.input"
    return has(step, "PrivateUse1") or has(function, "PrivateUse1") or has(function, "AutogradPrivateUse1")


def call_torch(
    cell: str,
    input: Tensor,
    batch_sizes: Tensor | None,
    states: States,
    flat: list[Tensor],
    options: tuple[bool, int, float, bool, bool],
    batch_first: bool = False,
) -> tuple[Tensor, States]:
    """Call torch's function. Returns the output and the final states.

    `options` are has_biases, num_layers, dropout, train (which tells cuDNN whether a backward may follow) and bidirectional.
    `batch_first` is not for packed input.
    """
    function: Any = torch.lstm if cell == "lstm" else torch.gru
    hx = states if cell == "lstm" else states[0]
    if batch_sizes is None:
        output, *finals = function(input, hx, flat, *options, batch_first)
    else:
        output, *finals = function(input, batch_sizes, hx, flat, *options)
    return output, tuple(finals)


def _with_lengths(call: Call, lengths: Tensor) -> Result:
    """Sort by length, pack, run, and put everything back in the caller's order, padded to T."""
    packed = sort_and_pack(call.input, lengths)
    order, inverse = packed.sorted_indices, packed.unsorted_indices
    assert order is not None
    assert inverse is not None
    states = tuple(state.index_select(1, order) for state in call.states)
    one = call._replace(input=packed.data, batch_sizes=packed.batch_sizes, lengths=None, states=states)
    output, finals, _ = run(one)
    packed = PackedSequence(output, packed.batch_sizes, order, inverse)
    padded, _ = pad_packed_sequence(packed, total_length=call.steps)
    return padded, tuple(state.index_select(1, inverse) for state in finals), ()


def _layer(call: Call) -> Layer:
    """A layer of `call` on torch's function."""
    one = call._replace(spec=call.spec._replace(num_layers=1), batch_sizes=None, seeds=None)

    def layer(
        x: Tensor, states: States, directions: Sequence[LayerWeights], lengths: Tensor | None
    ) -> tuple[States, States]:
        output, finals, _ = run(one._replace(input=x, lengths=lengths, states=states, weights=Weights.of([directions])))
        return (torch.unflatten(output, -1, (len(directions), -1)),), finals

    return layer
