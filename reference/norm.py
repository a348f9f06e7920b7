"""Layer normalisation inside a recurrent cell (Ba, Kiros & Hinton, "Layer normalization", 2016, arXiv:1607.06450).

The input side and the recurrent product are normalised apart, each over all gates of a step and sample, with gains of their own;
an LSTM's c is normalised before its tanh::

    W_ih x + b_ih    becomes    gain_ih * norm(W_ih x) + b_ih
    W_hh h + b_hh    becomes    gain_hh * norm(W_hh h) + b_hh
    tanh(c')         becomes    tanh(gain_c * norm(c') + bias_c)

with norm(a) = (a - mean(a)) / sqrt(var(a) + eps), eps = 1e-5. These are the formulas of the paper's supplement for the LSTM, and
those of the package haste, but for its single bias. Other variants normalise the sum of both products, each gate apart, or not c.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear

EPS = 1e-5


class Gains(NamedTuple):
    """Parameters of the normalisation inside the time loop, of D directions."""

    gain_hh: Tensor  # (D, G*H)
    gain_c: Tensor | None = None  # (D, H), of an LSTM
    bias_c: Tensor | None = None  # (D, H), of an LSTM


def normalised(x: Tensor) -> Tensor:
    """`x` minus its mean, divided by its standard deviation, both over the last dimension; 16-bit types are computed in float32."""
    return torch.nn.functional.layer_norm(x, x.shape[-1:], eps=EPS)


def scaled(x: Tensor, gain: Tensor, bias: Tensor | None) -> Tensor:
    """``gain * normalised(x) + bias``."""
    y = normalised(x) * gain
    return y if bias is None else y + bias


def recurrent(h: Tensor, w_hh: Tensor, b_hh: Tensor | None, gain_hh: Tensor | None) -> Tensor:
    """``W_hh h + b_hh``, normalised if there is a gain."""
    return linear(h, w_hh, b_hh) if gain_hh is None else scaled(linear(h, w_hh), gain_hh, b_hh)
