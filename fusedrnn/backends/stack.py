"""Layers run one after the other, for all backends except where torch runs a whole stack."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from fusedrnn.call import Call, Result
from fusedrnn.operators.dropout import drop, torch_dropout, torch_dropout_of_rows
from fusedrnn.operators.layer import Extras
from fusedrnn.operators.packing import pack, places_of, put, unpack
from fusedrnn.reference.heads import with_heads
from fusedrnn.reference.stack import Between, Layer, run_layers

Layers = Callable[[Tensor | None], Callable[[int], Layer]]
"""``layers(resets)(k)``: layer k, counted from 0, with resets (T, B) or None."""


def run_stack(call: Call, layers: Layers, between: Between | None) -> Result:
    """Run `call`. With heads, the layers take the heads of all directions as directions.

    Packed input is padded and gets lengths, so that a dropout mask of ours is indexed by (T, B, D*P) in every layout.
    """
    x, resets, lengths, places = call.input, call.resets, call.lengths, None
    if call.batch_sizes is not None:
        x, lengths, places = unpack(x, call.batch_sizes, call.states[0].shape[1])
        resets = None if resets is None else put(resets, places, *x.shape[:2])
    layer, spec = layers(resets), call.spec

    def layer_at(depth: int) -> Layer:
        return layer(depth) if spec.heads == 1 else with_heads(layer(depth), spec.heads, spec.gates)

    output, finals, every = run_layers(
        layer_at, x, call.states, call.weights.layers, between=between, lengths=lengths, all_states=call.all_states
    )
    if places is not None:
        output = pack(output, places)
        every = [tuple(pack(states, places) for states in trace) for trace in every]
    return output, finals, tuple(every)


def run_operators(call: Call, layer_at: Callable[[int, Extras], Layer], between: Between | None) -> Result:
    """`run_stack` for layers that are the sweep operator, whose backward reads the output. ``layer_at(k, extras)``: layer k.

    Users may overwrite the output of torch's RNNs, except on a GPU, where autograd refuses it. So they get a copy elsewhere.
    """

    def layers(resets: Tensor | None) -> Callable[[int], Layer]:
        return lambda depth: layer_at(depth, Extras(resets, call.noise(depth), call.spec.heads))

    output, finals, every = run_stack(call, layers, between)
    if output.requires_grad and call.batch_sizes is None and not output.is_cuda:
        output = output.clone()
    return output, finals, every


def dropout_between(call: Call, engine: str) -> Between | None:
    """A `Between` that applies the dropout of `call` to the output of a layer; None without dropout.

    With seeds, by `engine`. Without, with the masks of torch, which has packed rows where the input is packed.
    """
    spec, seeds = call.spec, call.seeds
    if not call.drops:
        return None
    if seeds is None and call.batch_sizes is not None and not spec.variational:
        places = places_of(call.batch_sizes, call.batch, len(call.input))
        return lambda depth, output: torch_dropout_of_rows(output, spec.dropout, places)
    if seeds is None:
        return lambda depth, output: torch_dropout(output, spec.dropout, spec.shared_dims)
    return lambda depth, output: drop(engine, output, spec.dropout, seeds[depth : depth + 1], spec.shared_dims)
