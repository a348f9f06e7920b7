"""Results of a sweep, the same for every engine. T steps, B samples, D directions, H units, S saved values per unit."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Dropout(NamedTuple):
    """Dropout that a sweep applies to the output for the next layer: the same as ``pointwise.dropout`` on (T, B, D*H)."""

    seed: Tensor  # (1,) int64
    p: float  # strictly between 0 and 1
    shared: bool  # one mask for all time steps


class Forward(NamedTuple):
    """Results of a forward sweep. ``gates`` and ``dropped`` are None unless requested, ``cells`` and ``c_n`` if there is no c."""

    output: Tensor  # (T, B, D, H)
    h_n: Tensor  # (D, B, H)
    cells: Tensor | None  # (T, B, D, H)
    c_n: Tensor | None  # (D, B, H)
    gates: Tensor | None  # (T, B, D, S*H), in the storage order of the cell
    dropped: Tensor | None = None  # (T, B, D, H), the output after dropout


class Backward(NamedTuple):
    """Gradients of the pre-activations and of the initial states."""

    dgates: Tensor  # (T, B, D, S*H), in the storage order of the cell
    dh0: Tensor  # (D, B, H)
    dc0: Tensor | None  # (D, B, H)
    d_gain_c: Tensor | None = None  # (D, H), with layer normalisation of c
    d_bias_c: Tensor | None = None  # (D, H)
