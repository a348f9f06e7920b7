"""Layers run one after the other: what every backend shares that does not give a whole stack to torch."""

from __future__ import annotations

from fusedrnn.call import Call, Result
from fusedrnn.operators.dropout import drop
from fusedrnn.operators.packing import pack, unpack
from fusedrnn.reference.stack import Between, Layer, run_layers


def run_stack(call: Call, layer: Layer, between: Between | None) -> Result:
    """Run `call` with `layer` as each of its layers.

    Packed input is padded first and given lengths, so that a dropout mask is indexed as (T, B, D*P) in every layout.
    """
    x, lengths, places = call.input, call.lengths, None
    if call.batch_sizes is not None:
        x, lengths, places = unpack(x, call.batch_sizes, call.states[0].shape[1])
    output, finals, every = run_layers(
        layer, x, call.states, call.weights.layers, between=between, lengths=lengths, all_states=call.all_states
    )
    if places is not None:
        output = pack(output, places)
        every = [tuple(pack(states, places) for states in trace) for trace in every]
    return output, finals, tuple(every)


def dropout_between(call: Call, engine: str) -> Between | None:
    """The dropout of `call` as a pass over each layer's output, by `engine`; None where nothing is dropped."""
    spec, seeds = call.spec, call.seeds
    if seeds is None:
        return None
    shared_dims = 1 if spec.variational else 0
    return lambda depth, output: drop(engine, output, spec.dropout, seeds[depth : depth + 1], shared_dims)
