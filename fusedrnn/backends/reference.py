"""The reference as a backend: its loops over time, differentiated by autograd."""

from __future__ import annotations

from torch import Tensor

from fusedrnn.backends.stack import dropout_between, run_stack
from fusedrnn.call import Call, Result, States
from fusedrnn.reference.stack import Sweep, layer_of
from fusedrnn.reference.sweep import gru_sweep, lstm_sweep


def run(call: Call) -> Result:
    """Run `call` with the reference."""
    return run_stack(call, layer_of(_sweep_of(call.spec.cell)), dropout_between(call, "plain"))


def _sweep_of(cell: str) -> Sweep:
    """The reference's time loop for `cell`, with the same arguments for all cells."""

    def sweep(
        gx: Tensor, states: States, w_hh: Tensor, b_hh: Tensor | None, w_hr: Tensor | None, lengths: Tensor | None
    ) -> tuple[States, States]:
        if cell == "lstm":
            output, cells, h_n, c_n = lstm_sweep(gx, states[0], states[1], w_hh, b_hh, w_hr, lengths)
            return (output, cells), (h_n, c_n)
        output, h_n = gru_sweep(gx, states[0], w_hh, b_hh, lengths, reset_after=cell == "gru")
        return (output,), (h_n,)

    return sweep
