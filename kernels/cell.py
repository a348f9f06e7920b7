"""What a cell is to the sweeps: a handful of numbers and the functions of one step. Names no cell's mathematics, needs no Triton.

A file a cell holds the functions (``gru``, ``gru_before``, ``lstm``, ``rnn_tanh``, ``rnn_relu``), ``cells`` gathers them. The
numbers alone, which allocations and the models of cost need where Triton may be absent, are in `NUMBERS`.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Cell(NamedTuple):
    """One cell, passed to the kernels whole, as the constant ``CELL``.

    Every block is [units, batch] in the accumulation dtype; ``gx`` and ``a`` are tuples of G of them: the input side
    x W_ih^T + b_ih and the recurrent products h W_hh^T + b_hh. Functions are of Triton's language:

        step(gx, a, h, c, DIGITS) -> h_new, c_new, saved
        step_backward(dh, dc, saved, h, c, c_before, DIGITS) -> dgates, dh_direct, dc_before

    ``saved`` and ``dgates`` are tuples of S blocks in the order in which they are stored; ``h`` is the state before the step,
    ``c`` after and ``c_before`` before it; ``dh_direct`` is the part of the gradient of ``h`` that no product carries, a block,
    or the number 0.0 if there is none. A cell without c hands on whatever it is given as c.

    A step of two phases exchanges a second time, before its last ``late`` products. ``step`` then takes the first G - late
    products and returns what to exchange in place of h, a block to keep for the second phase in place of c_new, and the first
    S - late blocks of ``saved``; ``step_backward`` returns the last G - late blocks of ``dgates``. The rest is

        step_late(gx, a, h, kept, DIGITS) -> h_new, saved
        step_late_backward(d_exchanged, saved, h) -> dgates, dh_more

    with ``a`` the last products, the ``saved`` that it returns the last blocks, ``dgates`` the first ones, ``d_exchanged`` the
    gradient of what was exchanged and ``dh_more`` what comes to ``dh_direct``.

    Attributes:
        name: by which callers ask for it.
        gates: G, blocks of rows of the weights.
        saved: S, values a unit and step that the backward sweep reads, and that it writes gradients of.
        late: products of the second phase; 0 if the step has one phase.
        has_c: whether a second state is carried, and stored at every step.
        exchanged_from: the first of the S blocks of ``dgates`` that is a gradient of a product, as all after it are.
        reads_h: whether the backward reads the state before the step.
        forward_specials: of the special function units, a unit and step: two a sigmoid, one a tanh, as bfloat16 has them.
        backward_specials: likewise; only tanh(c) is formed again.
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

    @property
    def phases(self) -> int:
        """Exchanges in a step."""
        return 2 if self.late else 1

    @property
    def cache_key(self) -> str:
        """What Triton's cache on disk knows a constant by: without it, edited functions of a cell would be served stale."""
        return "-".join(str(getattr(part, "cache_key", part)) for part in self)

    def __hash__(self) -> int:
        """By name, for a launch hashes its constants; those of Triton's functions are slow."""
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
"""Every cell by name, without its functions."""
