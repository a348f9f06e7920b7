"""The vanilla recurrent cell (Elman, "Finding structure in time", 1990), with tanh or ReLU."""

import torch
from torch import Tensor

from .norm import recurrent

NONLINEARITIES = {"tanh": torch.tanh, "relu": torch.relu}


def rnn_cell(
    gx: Tensor,
    h: Tensor,
    w_hh: Tensor,
    b_hh: Tensor | None = None,
    gain_hh: Tensor | None = None,
    *,
    nonlinearity: str = "tanh",
) -> Tensor:
    """One step of the RNN: ``h' = tanh(gx + W_hh h + b_hh)``, or with max(., 0) in place of tanh.

    Args:
        gx: input side of the pre-activation, ``x W_ih^T + b_ih``, (B, H).
        h: hidden state, (B, H).
        w_hh: recurrent weights, (H, H).
        b_hh: recurrent bias, (H,).
        gain_hh: of the normalised product W_hh h, (H,); None for no normalisation (see `norm`).
        nonlinearity: "tanh" or "relu".

    Returns:
        The next hidden state, (B, H), in the dtype of the arguments, which must agree.
    """
    return NONLINEARITIES[nonlinearity](gx + recurrent(h, w_hh, b_hh, gain_hh))
