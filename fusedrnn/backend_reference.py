"""The textbook as a backend: the reference's loops, differentiated by autograd."""

from __future__ import annotations

from torch import Tensor

from fusedrnn.call import Call
from fusedrnn.packing import pack, unpack
from fusedrnn.reference.stack import Layer, Sweep, layer_of, run_layers
from fusedrnn.reference.sweep import gru_sweep, lstm_sweep

name = "reference"


def refuse(call: Call) -> str | None:
    """The reference serves every call."""
    return None


def run(call: Call) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run `call` through the reference; output as (T, B, D*P) or packed (N, D*P), and the final states."""
    return run_stack(call, layer_of(_sweep_of(call.cell)))


def run_stack(call: Call, layer: Layer) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run `call` with `layer` as each of its layers: packed input goes through as padded input with lengths."""
    if call.batch_sizes is None:
        return run_layers(
            layer,
            call.input,
            call.states,
            call.layers,
            dropout=call.dropout,
            training=call.training,
            lengths=call.lengths,
        )
    padded, lengths = unpack(call.input, call.batch_sizes)
    output, states = run_layers(
        layer, padded, call.states, call.layers, dropout=call.dropout, training=call.training, lengths=lengths
    )
    return pack(output, call.batch_sizes), states


def _sweep_of(cell: str) -> Sweep:
    def lstm(
        gx: Tensor,
        states: tuple[Tensor, ...],
        w_hh: Tensor,
        b_hh: Tensor | None,
        w_hr: Tensor | None,
        lengths: Tensor | None,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        h0, c0 = states
        output, _, h_n, c_n = lstm_sweep(gx, h0, c0, w_hh, b_hh, w_hr, lengths)
        return output, (h_n, c_n)

    def gru(
        gx: Tensor,
        states: tuple[Tensor, ...],
        w_hh: Tensor,
        b_hh: Tensor | None,
        w_hr: Tensor | None,
        lengths: Tensor | None,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        (h0,) = states
        output, h_n = gru_sweep(gx, h0, w_hh, b_hh, lengths, reset_after=cell == "gru")
        return output, (h_n,)

    return lstm if cell == "lstm" else gru
