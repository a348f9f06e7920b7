"""The sweeps: one recurrent layer over a whole sequence, in one or two directions.

A sweep takes the input-side pre-activations of all steps, so that only the recurrent product is sequential. Sizes:
T steps, B batch, D directions (1 or 2), G gates, H hidden, P size of h (H without a projection). Direction 1 runs
backwards in time. With `lengths`, the output of a sample is zero past its length (see `loop`).
"""

from __future__ import annotations

from torch import Tensor

from .gru import gru_cell, gru_cell_reset_before
from .loop import State, over_time
from .lstm import lstm_cell
from .noise import Noise
from .norm import Gains
from .rnn import rnn_cell


def rnn_sweep(
    gx: Tensor,
    h0: Tensor,
    w_hh: Tensor,
    b_hh: Tensor | None = None,
    lengths: Tensor | None = None,
    *,
    nonlinearity: str = "tanh",
    resets: Tensor | None = None,
    noise: Noise | None = None,
    heads: int = 1,
    gains: Gains | None = None,
) -> tuple[Tensor, Tensor]:
    """Run the vanilla RNN cell (Elman 1990) over a sequence.

    Args:
        gx: ``x W_ih^T + b_ih``, (T, B, D, H).
        h0: initial state, (D, B, H).
        w_hh: recurrent weights, (D, H, H).
        b_hh: recurrent bias, (D, H).
        lengths: number of steps of each sample, (B,) integers from 0 to T on the device of `gx`; None means T for all.
        nonlinearity: "tanh" or "relu".
        resets: whether a sample starts anew at a step (see `loop`), (T, B) booleans.
        noise: zoneout and recurrent dropout; of an RNN, zoneout only.
        heads: N (see `loop`); then H are the units of a head, and D counts the heads of all directions.
        gains: with layer normalisation, its parameters (see `norm`).

    Returns:
        Every h_t, (T, B, D, H), and the final state, (D, B, H), in the dtype of the arguments.
    """

    def cell(gx_t: Tensor, h: Tensor, w: Tensor, b: Tensor | None, gain_hh: Tensor | None) -> State:
        return (rnn_cell(gx_t, h, w, b, gain_hh, nonlinearity=nonlinearity),)

    weights = (w_hh, b_hh, None if gains is None else gains.gain_hh)
    (output,), (h_n,) = over_time(cell, gx, (h0,), weights, lengths, resets, noise, heads)
    return output, h_n


def gru_sweep(
    gx: Tensor,
    h0: Tensor,
    w_hh: Tensor,
    b_hh: Tensor | None = None,
    lengths: Tensor | None = None,
    *,
    reset_after: bool = True,
    resets: Tensor | None = None,
    noise: Noise | None = None,
    heads: int = 1,
    gains: Gains | None = None,
) -> tuple[Tensor, Tensor]:
    """Run the GRU over a sequence.

    Args:
        gx: ``x W_ih^T + b_ih``, (T, B, D, 3H).
        h0: initial state, (D, B, H).
        w_hh: recurrent weights, (D, 3H, H).
        b_hh: recurrent bias, (D, 3H).
        lengths: number of steps of each sample, (B,) integers from 0 to T on the device of `gx`; None means T for all.
        reset_after: True is the GRU of `torch.nn.GRU`, False that of Cho et al. (2014), which has no `gains`.
        resets: whether a sample starts anew at a step (see `loop`), (T, B) booleans.
        noise: zoneout and recurrent dropout; of an RNN, zoneout only.
        heads: N (see `loop`); then H are the units of a head, and D counts the heads of all directions.
        gains: with layer normalisation, its parameters (see `norm`).

    Returns:
        Every h_t, (T, B, D, H), and the final state, (D, B, H), in the dtype of the arguments.
    """
    step = gru_cell if reset_after else gru_cell_reset_before
    normal = (None if gains is None else gains.gain_hh,) if reset_after else ()

    def cell(gx_t: Tensor, h: Tensor, w: Tensor, *more: Tensor | None) -> State:
        return (step(gx_t, h, w, *more),)

    (output,), (h_n,) = over_time(cell, gx, (h0,), (w_hh, b_hh, *normal), lengths, resets, noise, heads)
    return output, h_n


def lstm_sweep(
    gx: Tensor,
    h0: Tensor,
    c0: Tensor,
    w_hh: Tensor,
    b_hh: Tensor | None = None,
    w_hr: Tensor | None = None,
    lengths: Tensor | None = None,
    *,
    resets: Tensor | None = None,
    noise: Noise | None = None,
    heads: int = 1,
    gains: Gains | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Run the LSTM over a sequence.

    Args:
        gx: ``x W_ih^T + b_ih``, (T, B, D, 4H).
        h0: initial hidden state, (D, B, P).
        c0: initial cell state, (D, B, H).
        w_hh: recurrent weights, (D, 4H, P).
        b_hh: recurrent bias, (D, 4H).
        w_hr: projection of h, (D, P, H).
        lengths: number of steps of each sample, (B,) integers from 0 to T on the device of `gx`; None means T for all.
        resets: whether a sample starts anew at a step (see `loop`), (T, B) booleans.
        noise: zoneout and recurrent dropout; of an RNN, zoneout only.
        heads: N (see `loop`); then H are the units of a head, and D counts the heads of all directions.
        gains: with layer normalisation, its parameters (see `norm`).

    Returns:
        Every h_t, (T, B, D, P), every c_t, (T, B, D, H), and the final states, (D, B, P) and (D, B, H), in the dtype
        of the arguments.
    """
    weights = (w_hh, b_hh, w_hr, *(gains or (None, None, None)))
    (output, cells), (h_n, c_n) = over_time(lstm_cell, gx, (h0, c0), weights, lengths, resets, noise, heads)
    return output, cells, h_n, c_n
