"""The sweep of each cell by name, all with the signature `stack.Sweep`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor

from .loop import State
from .stack import Sweep
from .sweep import gru_sweep, lstm_sweep, rnn_sweep


def _without_c(sweep: Callable[..., tuple[Tensor, Tensor]]) -> Sweep:
    def run(
        gx: Tensor,
        states: State,
        w_hh: Tensor,
        b_hh: Tensor | None,
        w_hr: Tensor | None,
        lengths: Tensor | None,
        **options: Any,
    ) -> tuple[State, State]:
        output, h_n = sweep(gx, *states, w_hh, b_hh, lengths, **options)
        return (output,), (h_n,)

    return run


def _lstm(
    gx: Tensor,
    states: State,
    w_hh: Tensor,
    b_hh: Tensor | None,
    w_hr: Tensor | None,
    lengths: Tensor | None,
    **options: Any,
) -> tuple[State, State]:
    output, cells, h_n, c_n = lstm_sweep(gx, states[0], states[1], w_hh, b_hh, w_hr, lengths, **options)
    return (output, cells), (h_n, c_n)


SWEEPS: dict[str, Sweep] = {
    "gru": _without_c(gru_sweep),
    "gru_before": _without_c(partial(gru_sweep, reset_after=False)),
    "lstm": _lstm,
    "rnn_tanh": _without_c(rnn_sweep),
    "rnn_relu": _without_c(partial(rnn_sweep, nonlinearity="relu")),
}
