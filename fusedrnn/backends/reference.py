"""The textbook as a backend: the reference's loops, differentiated by autograd."""

from __future__ import annotations

from torch import Tensor

from fusedrnn.call import Call, Result
from fusedrnn.operators.dropout import drop
from fusedrnn.operators.packing import pack, unpack
from fusedrnn.reference.stack import Between, Layer, Sweep, layer_of, run_layers
from fusedrnn.reference.sweep import gru_sweep, lstm_sweep

name = "reference"


def refuse(call: Call) -> str | None:
    """The reference serves every call."""
    return None


def run(call: Call) -> Result:
    """Run `call` through the reference."""
    return run_stack(call, layer_of(_sweep_of(call.cell)), dropout_between(call, "plain"))


def run_stack(call: Call, layer: Layer, between: Between | None) -> Result:
    """Run `call` with `layer` as each of its layers.

    Packed input goes through as padded input with lengths, so that a mask is indexed as (T, B, D*P) whatever the layout.
    """
    x, lengths, places = call.input, call.lengths, None
    if call.batch_sizes is not None:
        x, lengths, places = unpack(x, call.batch_sizes, call.states[0].shape[1])
    output, finals, every = run_layers(
        layer,
        x,
        call.states,
        call.layers,
        between=between,
        lengths=lengths,
        all_states=call.all_states,
    )
    if places is not None:
        output = pack(output, places)
        every = [tuple(pack(states, places) for states in trace) for trace in every]
    return output, finals, tuple(every)


def dropout_between(call: Call, engine: str) -> Between | None:
    """The dropout of `call` as a pass of its own, by `engine`; None where nothing is dropped."""
    seeds, shared_dims = call.seeds, 1 if call.variational else 0
    if seeds is None:
        return None
    return lambda depth, output: drop(engine, output, call.dropout, seeds[depth : depth + 1], shared_dims)


def _sweep_of(cell: str) -> Sweep:
    def lstm(
        gx: Tensor,
        states: tuple[Tensor, ...],
        w_hh: Tensor,
        b_hh: Tensor | None,
        w_hr: Tensor | None,
        lengths: Tensor | None,
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        h0, c0 = states
        output, cells, h_n, c_n = lstm_sweep(gx, h0, c0, w_hh, b_hh, w_hr, lengths)
        return (output, cells), (h_n, c_n)

    def gru(
        gx: Tensor,
        states: tuple[Tensor, ...],
        w_hh: Tensor,
        b_hh: Tensor | None,
        w_hr: Tensor | None,
        lengths: Tensor | None,
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        (h0,) = states
        output, h_n = gru_sweep(gx, h0, w_hh, b_hh, lengths, reset_after=cell == "gru")
        return (output,), (h_n,)

    return lstm if cell == "lstm" else gru
