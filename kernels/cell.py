"""The interface between a cell and the sweeps: its sizes and the functions of one step. Does not import Triton.

The functions are in one file per cell (``gru``, ``gru_before``, ``lstm``, ``rnn_tanh``, ``rnn_relu``); ``cells`` collects them.
`NUMBERS` has the sizes alone, for memory allocation and cost models where Triton may not be installed.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Cell(NamedTuple):
    """A recurrent cell, passed to the kernels as the constexpr ``CELL``.

    Blocks are [units, samples] in the accumulation dtype. ``gx`` and ``a`` are tuples of G blocks, one per gate: the input-side
    pre-activations x W_ih^T + b_ih and the recurrent products h W_hh^T + b_hh. The functions are Triton functions:

        step(gx, a, h, c, factor, DIGITS) -> h_new, c_new, saved
        step_backward(dh, dc, saved, h, c, c_before, factor, DIGITS) -> dgates, dh_direct, dc_before
        new_c(saved, c_before, factor) -> c_new

    With layer normalisation of c, h' and the gradients are found apart, from c', normalised between the two:

        output(saved, c, DIGITS) -> h_new
        through_output(dh, saved, c, DIGITS) -> y, the gradient of the normalised c
        gate_gradients(dh, dc, y, saved, c_before, factor) -> dgates, dh_direct, dc_before

    ``factor`` multiplies the candidate (recurrent dropout); a cell without a candidate ignores it. ``saved`` and ``dgates`` are
    tuples of S blocks in storage order. ``h`` is the state before the step. In ``step_backward``, ``c`` is the cell state after the
    step, ``c_before`` the one before it, and ``dh_direct`` the part of the gradient of ``h`` that does not pass through a recurrent
    product, or 0.0 if there is none. A cell without c returns its argument c or dc.

    A cell of two phases exchanges a second block in each step, which its last ``late`` products multiply in place of h. ``step``
    then takes the first G - late products and returns (the block to exchange, a block kept for the second phase, the first
    S - late blocks of ``saved``); ``step_backward`` returns the last G - late blocks of ``dgates``. The second phase is

        step_late(gx, a, h, kept, factor, DIGITS) -> h_new, saved
        step_late_backward(d_exchanged, saved, h) -> dgates, dh_more

    where ``a`` has the last ``late`` products and the returned ``saved`` the last ``late`` blocks; ``d_exchanged`` is the gradient
    of the exchanged block, the returned ``dgates`` are the first blocks, and ``dh_more`` is added to ``dh_direct``.

    Attributes:
        name: key in `NUMBERS` and in `cells.CELLS`.
        gates: G, number of gates; W_hh has G*H rows.
        saved: S, number of values per unit and step that are saved for the backward sweep, and of gradients that it writes.
        late: number of products in the second phase; 0 for a cell of one phase.
        has_c: whether there is a cell state c, which is stored at every step.
        exchanged_from: index of the first exchanged block of ``dgates``; from it on, blocks are gradients of recurrent products.
        reads_h: whether the backward sweep reads the state before the step.
        forward_specials: special-function instructions per unit and step in bfloat16: two for a sigmoid, one for a tanh.
        backward_specials: the same for the backward sweep, which recomputes only tanh(c).
    """

    name: str
    gates: int
    saved: int
    late: int = 0
    has_c: bool = False
    exchanged_from: int = 0
    reads_h: bool = False
    forward_specials: int = 0
    backward_specials: int = 0
    step: Any = None
    step_backward: Any = None
    step_late: Any = None
    step_late_backward: Any = None
    new_c: Any = None
    output: Any = None
    through_output: Any = None
    gate_gradients: Any = None

    @property
    def phases(self) -> int:
        """Number of exchanges per step."""
        return 2 if self.late else 1

    @property
    def cache_key(self) -> str:
        """Key of this constexpr in Triton's disk cache; covers the functions' source, so that an edit leads to a recompilation."""
        return "-".join(str(getattr(part, "cache_key", part)) for part in self)

    def __hash__(self) -> int:
        """Hash the name only: every launch hashes its constexprs, and hashing Triton functions is slow."""
        return hash(self.name)


NUMBERS = {
    cell.name: cell
    for cell in (
        Cell("gru", gates=3, saved=4, exchanged_from=1, reads_h=True, forward_specials=5),
        Cell("gru_before", gates=3, saved=3, late=1, reads_h=True, forward_specials=5),
        Cell("lstm", gates=4, saved=4, has_c=True, forward_specials=8, backward_specials=1),
        Cell("rnn_tanh", gates=1, saved=1, forward_specials=1),
        Cell("rnn_relu", gates=1, saved=1),
    )
}
"""The sizes of every cell by name; the functions are None."""
