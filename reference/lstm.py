"""The long short-term memory cell; gates in the order i, f, g, o."""

import torch
from torch import Tensor
from torch.nn.functional import linear

from .noise import times_factor
from .norm import recurrent, scaled


def lstm_cell(
    gx: Tensor,
    h: Tensor,
    c: Tensor,
    w_hh: Tensor,
    b_hh: Tensor | None = None,
    w_hr: Tensor | None = None,
    gain_hh: Tensor | None = None,
    gain_c: Tensor | None = None,
    bias_c: Tensor | None = None,
    factor: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """One step of the LSTM.

    Hochreiter & Schmidhuber, "Long short-term memory" (1997), with the forget gate of Gers, Schmidhuber & Cummins,
    "Learning to forget" (2000) and, with `w_hr`, the recurrent projection of Sak, Senior & Beaufays (2014,
    arXiv:1402.1128)::

        i, f, o = sigmoid(gx + W_hh h + b_hh)      each gate with its rows of gx, W_hh, b_hh
        g = tanh(gx_g + W_hg h + b_hg)
        c' = f * c + i * g
        h' = o * tanh(c')                          with a projection W_hr (o * tanh(c'))

    Args:
        gx: input side of the pre-activations, ``x W_ih^T + b_ih``, (B, 4H).
        h: hidden state, (B, P), where P is H without a projection.
        c: cell state, (B, H).
        w_hh: recurrent weights, (4H, P).
        b_hh: recurrent bias, (4H,).
        w_hr: projection, (P, H).
        gain_hh: of the normalised product W_hh h, (4H,); None for no normalisation (see `norm`).
        gain_c: of the normalised c', (H,).
        bias_c: of the normalised c', (H,).
        factor: of g in c', (B, H), for recurrent dropout (see `noise`).

    Returns:
        The next hidden state, (B, P), and cell state, (B, H), in the dtype of the arguments, which must agree.
    """
    i, f, g, o = (gx + recurrent(h, w_hh, b_hh, gain_hh)).chunk(4, dim=-1)
    i, f, o = torch.sigmoid(i), torch.sigmoid(f), torch.sigmoid(o)
    g = times_factor(torch.tanh(g), factor)
    c = f * c + i * g
    h = o * torch.tanh(c if gain_c is None else scaled(c, gain_c, bias_c))
    return (h if w_hr is None else linear(h, w_hr)), c
