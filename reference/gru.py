"""The gated recurrent unit in both published forms; gates in the order r, z, n."""

import torch
from torch import Tensor
from torch.nn.functional import linear

from .noise import times_factor
from .norm import recurrent


def gru_cell(
    gx: Tensor,
    h: Tensor,
    w_hh: Tensor,
    b_hh: Tensor | None = None,
    gain_hh: Tensor | None = None,
    factor: Tensor | None = None,
) -> Tensor:
    """One step of the GRU whose reset gate acts after the recurrent product.

    This is the form of cuDNN and of `torch.nn.GRU`, a variant of Cho et al. (2014, arXiv:1406.1078)::

        r = sigmoid(gx_r + W_hr h + b_hr)
        z = sigmoid(gx_z + W_hz h + b_hz)
        n = tanh(gx_n + r * (W_hn h + b_hn))
        h' = (1 - z) * n + z * h

    Args:
        gx: input side of the pre-activations, ``x W_ih^T + b_ih``, (B, 3H).
        h: hidden state, (B, H).
        w_hh: recurrent weights, (3H, H).
        b_hh: recurrent bias, (3H,).
        gain_hh: of the normalised product W_hh h, (3H,); None for no normalisation (see `norm`).
        factor: of n in h', (B, H), for recurrent dropout (see `noise`).

    Returns:
        The next hidden state, (B, H), in the dtype of the arguments, which must agree.
    """
    gx_r, gx_z, gx_n = gx.chunk(3, dim=-1)
    gh_r, gh_z, gh_n = recurrent(h, w_hh, b_hh, gain_hh).chunk(3, dim=-1)
    r = torch.sigmoid(gx_r + gh_r)
    z = torch.sigmoid(gx_z + gh_z)
    n = times_factor(torch.tanh(gx_n + r * gh_n), factor)
    return (1 - z) * n + z * h


def gru_cell_reset_before(
    gx: Tensor, h: Tensor, w_hh: Tensor, b_hh: Tensor | None = None, factor: Tensor | None = None
) -> Tensor:
    """One step of the GRU whose reset gate acts before the recurrent product.

    The form of Cho et al., "Learning phrase representations using RNN encoder-decoder" (2014, arXiv:1406.1078),
    in which z is the weight of the previous state::

        r = sigmoid(gx_r + W_hr h + b_hr)
        z = sigmoid(gx_z + W_hz h + b_hz)
        n = tanh(gx_n + W_hn (r * h) + b_hn)
        h' = (1 - z) * n + z * h

    Args:
        gx: input side of the pre-activations, ``x W_ih^T + b_ih``, (B, 3H).
        h: hidden state, (B, H).
        w_hh: recurrent weights, (3H, H).
        b_hh: recurrent bias, (3H,).
        factor: of n in h', (B, H), for recurrent dropout (see `noise`).

    Returns:
        The next hidden state, (B, H), in the dtype of the arguments, which must agree.
    """
    gx_r, gx_z, gx_n = gx.chunk(3, dim=-1)
    w_r, w_z, w_n = w_hh.chunk(3)
    b_r, b_z, b_n = (None, None, None) if b_hh is None else b_hh.chunk(3)
    r = torch.sigmoid(gx_r + linear(h, w_r, b_r))
    z = torch.sigmoid(gx_z + linear(h, w_z, b_z))
    n = times_factor(torch.tanh(gx_n + linear(r * h, w_n, b_n)), factor)
    return (1 - z) * n + z * h
