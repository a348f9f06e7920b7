"""Arguments of `fusedrnn::sweep` and `fusedrnn::sweep_backward`: by name, and packed as in their schemas.

torch fills in the arguments of an operator in a time that grows with the square of their number, so that what is rarely used is
packed: all numbers in one list, all parameters of layer normalisation in one tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, get_type_hints

import torch
from torch import Tensor

from fusedrnn.reference.noise import Noise
from fusedrnn.reference.norm import Gains

_TYPES = {Tensor: "Tensor", Tensor | None: "Tensor?", str: "str", bool: "bool", list[float]: "float[]"}
_NUMBERS: dict[str, Callable[[float], Any]] = {
    "p": float,
    "shared": bool,
    "forward_row": int,
    "backward_row": int,
    "zoneout_h": float,
    "zoneout_c": float,
    "candidate_p": float,
    "candidate_shared": bool,
    "heads": int,
}
"""The fields of a `Sweep` that are packed as numbers, in order."""


class Sweep(NamedTuple):
    """Arguments of a sweep by name: one layer with all its directions.

    Attributes:
        engine: "triton" or "unrolled".
        cell: key of `kernels.cell.NUMBERS`.
        x: (T, B, I), token ids (T, B) int64, or pre-activations (T, B, D*G*H) if `w_ih` is None.
        h0: (D, B, H).
        c0: (D, B, H), or None if the cell has no c.
        w_ih: (D, G*H, I) or None.
        w_hh: (D, G*H, H).
        b_ih: (D, G*H) or None.
        b_hh: (D, G*H) or None.
        lengths: steps of each sample, (B,) integers, or None for T.
        keep_gates: whether to save the gates for the backward, which otherwise recomputes them.
        seed: seed of the dropout of the output, (1,) int64, or None for no dropout.
        p: probability of dropping an element, strictly between 0 and 1.
        shared: whether all time steps share one mask.
        forward_row, backward_row: for "triton", places in `kernels.table.runnable`; -1 for the table's choice.
        resets: whether a sample starts anew at a step, (T, B) bool, or None.
        noise_seed: the seed of the `noise`, (1,) int64, or None.
        zoneout_h, zoneout_c, candidate_p, candidate_shared: its probabilities, and whether all steps share the candidate's mask.
        heads: heads of a direction; then D counts the heads of all directions, and H are the units of one.
        gain_hh, gain_c, bias_c: with layer normalisation, the `Gains`, (D, G*H) and, of an LSTM, (D, H); else None.
    """

    engine: str
    cell: str
    x: Tensor
    h0: Tensor
    c0: Tensor | None
    w_ih: Tensor | None
    w_hh: Tensor
    b_ih: Tensor | None
    b_hh: Tensor | None
    lengths: Tensor | None
    keep_gates: bool
    seed: Tensor | None = None
    p: float = 0.0
    shared: bool = False
    forward_row: int = -1
    backward_row: int = -1
    resets: Tensor | None = None
    noise_seed: Tensor | None = None
    zoneout_h: float = 0.0
    zoneout_c: float = 0.0
    candidate_p: float = 0.0
    candidate_shared: bool = False
    heads: int = 1
    gain_hh: Tensor | None = None
    gain_c: Tensor | None = None
    bias_c: Tensor | None = None

    @property
    def gains(self) -> Gains | None:
        """The parameters of layer normalisation, or None without."""
        return None if self.gain_hh is None else Gains(self.gain_hh, self.gain_c, self.bias_c)

    @property
    def noise(self) -> Noise | None:
        """Zoneout and recurrent dropout, or None if there are none."""
        if self.noise_seed is None and self.zoneout_h == 0 and self.zoneout_c == 0:
            return None
        zoneout = (self.zoneout_h, self.zoneout_c)
        return Noise(self.noise_seed, zoneout, self.candidate_p, self.candidate_shared)

    def packed(self) -> Packed:
        """The arguments of the operator."""
        gains = self.gains
        norm = None if gains is None else torch.cat([gain for gain in gains if gain is not None], 1)
        given = tuple([getattr(self, name) for name in _NUMBERS])
        numbers = [] if given == _PLAIN else [float(number) for number in given]
        return Packed(*self[:12], self.resets, self.noise_seed, norm, numbers)


_PLAIN = tuple(Sweep._field_defaults[name] for name in _NUMBERS)


class Packed(NamedTuple):
    """Arguments of `fusedrnn::sweep`: fields of a `Sweep`, its gains as one tensor, its numbers as a list, [] for the defaults."""

    engine: str
    cell: str
    x: Tensor
    h0: Tensor
    c0: Tensor | None
    w_ih: Tensor | None
    w_hh: Tensor
    b_ih: Tensor | None
    b_hh: Tensor | None
    lengths: Tensor | None
    keep_gates: bool
    seed: Tensor | None = None
    resets: Tensor | None = None
    noise_seed: Tensor | None = None
    norm: Tensor | None = None
    numbers: list[float] = []  # noqa: RUF012  # the default of the schema

    def by_name(self) -> Sweep:
        """The fields by name."""
        sweep = Sweep(*self[:12], resets=self.resets, noise_seed=self.noise_seed)
        if self.numbers:
            values = zip(_NUMBERS.items(), self.numbers, strict=True)
            sweep = sweep._replace(**{name: kind(value) for (name, kind), value in values})
        if self.norm is None:
            return sweep
        rows, H = self.w_hh.shape[1], self.h0.shape[-1]
        parts = [part.contiguous() for part in self.norm.split([rows, *[H] * (2 * (self.c0 is not None))], 1)]
        return sweep._replace(**dict(zip(("gain_hh", "gain_c", "bias_c"), parts, strict=False)))


class Gradients(NamedTuple):
    """What `fusedrnn::sweep_backward` takes after the arguments of the sweep that it differentiates.

    Attributes:
        output, cells, gates: results of the forward; `gates` is empty if they were not saved.
        d_output, d_h_n, d_cells, d_c_n, d_dropped: gradients of the results, each None if there is none.
        need_x: whether the gradient of `x` is needed.
    """

    output: Tensor
    cells: Tensor
    gates: Tensor
    d_output: Tensor | None
    d_h_n: Tensor | None
    d_cells: Tensor | None
    d_c_n: Tensor | None
    d_dropped: Tensor | None
    need_x: bool


DIFFERENTIABLE = ("x", "h0", "c0", "w_ih", "w_hh", "b_ih", "b_hh", "norm")
"""The differentiable arguments of the operator, in the order in which `sweep_backward` returns their gradients."""


def schema(*arguments: type[Packed] | type[Gradients], results: int) -> str:
    """The schema of an operator with the fields of all `arguments` that returns so many tensors.

    Only the fields of the last one may have defaults.
    """
    given = []
    for part in arguments:
        types, defaults = get_type_hints(part), part._field_defaults if part is arguments[-1] else {}
        given += [f"{_TYPES[types[f]]} {f}" + (f"={defaults[f]}" if f in defaults else "") for f in part._fields]
    return f"({', '.join(given)}) -> ({', '.join(['Tensor'] * results)})"


def split(arguments: Sequence[Any]) -> tuple[Packed, Gradients]:
    """The two parts of the arguments of `fusedrnn::sweep_backward`."""
    count = len(Packed._fields)
    return Packed(*arguments[:count]), Gradients(*arguments[count:])
