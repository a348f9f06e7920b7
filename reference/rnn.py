"""The vanilla recurrent cell (Elman, "Finding structure in time", 1990)."""

import torch
from torch import Tensor
from torch.nn.functional import linear


def rnn_cell(gx: Tensor, h: Tensor, w_hh: Tensor, b_hh: Tensor | None = None) -> Tensor:
    """One step of the RNN with tanh: ``h' = tanh(gx + W_hh h + b_hh)``.

    Args:
        gx: input side of the pre-activation, ``x W_ih^T + b_ih``, (B, H).
        h: hidden state, (B, H).
        w_hh: recurrent weights, (H, H).
        b_hh: recurrent bias, (H,).

    Returns:
        The next hidden state, (B, H), in the dtype of the arguments, which must agree.
    """
    return torch.tanh(gx + linear(h, w_hh, b_hh))
