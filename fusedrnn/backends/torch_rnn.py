"""torch's own GRU and LSTM as a backend: cuDNN on a GPU, oneDNN or ATen on a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from fusedrnn.backends import triton
from fusedrnn.backends.stack import dropout_between, run_stack
from fusedrnn.call import Call, Result, States, Weights
from fusedrnn.operators.packing import sort_and_pack
from fusedrnn.reference.stack import Layer, LayerWeights


def run(call: Call) -> Result:
    """Run `call`: the whole stack at once, or layer by layer if there is dropout.

    Dropout uses the masks of `functional.dropout`, the same on every backend and reproduced with torch's random state. cuDNN's are
    not: it keeps their state in a cache that `torch.manual_seed` does not reach. On a CPU torch also runs layer by layer; on a GPU
    this prevents cuDNN from running layers concurrently.
    """
    if call.seeds is None:
        return _whole(call)
    return run_stack(call, _layer(call), dropout_between(call, triton.pointwise_engine(call.input)))


def _whole(call: Call) -> Result:
    """Run torch's function on all layers. Padded input with lengths is sorted and packed; results are in the caller's order."""
    if call.batch_sizes is not None:
        return _on_packed(call, call.input, call.batch_sizes, call.states)
    if call.lengths is None:
        function, hx, options = _function(call, call.states)
        output, *finals = function(call.input, hx, call.weights.flat, *options, False)
        return output, tuple(finals), ()
    packed = sort_and_pack(call.input, call.lengths)
    order, inverse = packed.sorted_indices, packed.unsorted_indices
    assert order is not None
    assert inverse is not None
    states = tuple(state.index_select(1, order) for state in call.states)
    output, sorted_finals, _ = _on_packed(call, packed.data, packed.batch_sizes, states)
    packed = PackedSequence(output, packed.batch_sizes, order, inverse)
    padded, _ = pad_packed_sequence(packed, total_length=call.steps)
    return padded, tuple(state.index_select(1, inverse) for state in sorted_finals), ()


def _on_packed(call: Call, data: Tensor, batch_sizes: Tensor, states: States) -> Result:
    function, hx, options = _function(call, states)
    output, *finals = function(data, batch_sizes, hx, call.weights.flat, *options)
    return output, tuple(finals), ()


def _layer(call: Call) -> Layer:
    """A `Layer` that runs one layer of `call` with torch's function."""
    one = call._replace(spec=call.spec._replace(num_layers=1), batch_sizes=None, seeds=None)

    def layer(
        x: Tensor, states: States, directions: Sequence[LayerWeights], lengths: Tensor | None
    ) -> tuple[States, States]:
        output, finals, _ = _whole(
            one._replace(input=x, lengths=lengths, states=states, weights=Weights.of([directions]))
        )
        return (torch.unflatten(output, -1, (len(directions), -1)),), finals

    return layer


def _function(call: Call, states: States) -> tuple[Any, Any, tuple[bool, int, float, bool, bool]]:
    """torch's function, its hx, and its arguments has_biases, num_layers, dropout, train and bidirectional.

    `train` tells cuDNN whether a backward may follow.
    """
    spec = call.spec
    options = (call.weights.bias, spec.num_layers, 0.0, call.training, spec.directions == 2)
    return (torch.lstm, states, options) if spec.cell == "lstm" else (torch.gru, states[0], options)
