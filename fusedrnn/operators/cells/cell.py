"""What a cell is to the operators: its step and its derivative in plain torch operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor

from fusedrnn.operators.normalised import Normalised
from fusedrnn.operators.results import Backward
from fusedrnn.reference.norm import Gains, scaled

Rows = Sequence[Tensor]
"""The values of one step as `Cell.split` gives them, each (B, *)."""


class Trace(NamedTuple):
    """What the backward of a time loop works on.

    T steps, B samples, D directions, H units, S saved values a unit. Gradients of the trace are zero in the padding.
    """

    gates: Tensor  # (T, B, D, S*H), as the forward saved them
    previous: Tensor  # (T, B, D, H): c before each step of a cell with c, h of any other
    cells: Tensor | None  # (T, B, D, H) c after each step
    w_hh: Tensor  # (D, G*H, H)
    active: Tensor | None  # (T, B, 1): whether a sample has this step; None for all
    ended: Tensor | None  # (T, B, 1, 1): the opposite
    d_output: Tensor  # (T, B, D, H)
    d_h_n: Tensor  # (D, B, H)
    d_cells: Tensor | None  # (T, B, D, H)
    d_c_n: Tensor | None  # (D, B, H)
    heads: int = 1  # of a direction; D counts those of all directions
    anew: Tensor | None = None  # (T, B, D, 1): whether a sample starts anew before this step
    new_h: Tensor | None = (
        None  # weight of the cell's h in the state after zoneout, (T, B, D, H) or one number; None for 1
    )
    new_c: Tensor | None = None  # the same for c
    factor: Tensor | None = None  # (T, B, D, H): of the candidate, from recurrent dropout
    norm: Normalised | None = None  # with layer normalisation


class Cell(NamedTuple):
    """The functions of a cell.

    Attributes:
        split: (rows (..., N*H), H) -> views by gate, of the pre-activations and of what is saved.
        step: (gx, saved, h, c, w_hh^T, b_hh, h_new, c_new, factor, gains): write one step into `saved`, `h_new` and `c_new`.
            `factor` is that of the candidate, (B, H), or None, `gains` those of the direction, or None.
        recompute: (gx, previous h of all steps, w_hh, b_hh, gain_hh) -> what the steps saved, (T, B, D, S*H).
        backward: run the time loop backwards.
        gradient_of_gx: dgates (T, B, D, S*H) -> the gradient of gx, (T, B, D, G*H).
        products: dgates -> the gradient of W_hh h + b_hh, (T, B, D, G*H).
        gradient_of_weight: (dgates, previous h, saved), each (T*B, *), of one direction -> the gradient of w_hh, (G*H, H).
        gradients_of_biases: dgates -> the gradients of b_ih and b_hh, (D, G*H) each.
    """

    split: Callable[[Tensor, int], Rows]
    step: Callable[..., None]
    recompute: Callable[[Tensor, Tensor, Tensor, Tensor | None, Tensor | None], Tensor]
    backward: Callable[[Trace], Backward]
    gradient_of_gx: Callable[[Tensor], Tensor]
    products: Callable[[Tensor], Tensor]
    gradient_of_weight: Callable[[Tensor, Tensor, Tensor], Tensor]
    gradients_of_biases: Callable[[Tensor], tuple[Tensor, Tensor]]


def unchanged(dgates: Tensor) -> Tensor:
    """The gradient of gx of a cell whose gates all add gx to the recurrent product."""
    return dgates


def one_product(dgates: Tensor, previous: Tensor, saved: Tensor) -> Tensor:
    """The gradient of w_hh of a cell whose gates all multiply the previous h."""
    return dgates.t() @ previous


def equal_biases(dgates: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of b_ih and b_hh of a cell that adds both to each gate: the same, in memory that is not shared."""
    total = dgates.sum((0, 1))
    return total, total.clone()


def times(T: int, d: int, heads: int = 1) -> range:
    """The times of direction d in the order it takes them; with `heads`, of head d of all directions."""
    return range(T) if d < heads else range(T - 1, -1, -1)


def normalised_product(h: Tensor, w_t: Tensor, bias: Tensor, gains: Gains) -> Tensor:
    """W_hh h + b_hh of one step, with the product normalised."""
    return scaled(h @ w_t, gains.gain_hh, bias)


def to_initial(gradient: Tensor, anew: Tensor, initial: Tensor) -> Tensor:
    """Add the gradient of a state, (B, H), to that of the initial one where it started anew, (B, 1); returns the rest."""
    initial += gradient.masked_fill(~anew, 0)
    return gradient.masked_fill(anew, 0)
