"""What a sweep returns, whichever engine runs it. T steps, B samples, D directions, H units, S values saved a unit."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Dropout(NamedTuple):
    """What a sweep drops of the output that the next layer reads, on the fly: as ``pointwise.dropout`` of (T, B, D*H)."""

    seed: Tensor  # (1,) int64
    p: float  # strictly between 0 and 1
    shared: bool  # one mask for all time steps


class Forward(NamedTuple):
    """What a forward sweep leaves: ``gates`` and ``dropped`` are None unless asked for, ``cells`` and ``c_n`` without a c."""

    output: Tensor  # (T, B, D, H)
    h_n: Tensor  # (D, B, H)
    cells: Tensor | None  # (T, B, D, H)
    c_n: Tensor | None  # (D, B, H)
    gates: Tensor | None  # (T, B, D, S*H): as the cell saves them
    dropped: Tensor | None = None  # (T, B, D, H) the output after dropout


class Backward(NamedTuple):
    """Gradients of the pre-activations and of the initial states."""

    dgates: Tensor  # (T, B, D, S*H): in the order of the cell
    dh0: Tensor  # (D, B, H)
    dc0: Tensor | None  # (D, B, H)
