"""Which form of a call is the fastest on a CPU: rules from the work that each form does.

Times are in nanoseconds. The constants were measured on a CPU with AVX-512 (`benchmarks/NOTES.md`), but only their ratios matter:
the cost of entering an operator against that of a multiplication. What differs between machines by more than that is asked:
whether torch has a fused LSTM (oneDNN) for the call, and the number of threads.
"""

from __future__ import annotations

from functools import cache
from math import expm1
from typing import NamedTuple

import torch

from fusedrnn.kernels.cell import NUMBERS

PRODUCT = 0.021
"""A multiplication and an addition of a large product, on one thread."""
REORDER = 0.9
"""Bringing one weight into oneDNN's layout, which a call does for all weights."""
COPY = 0.33
"""Copying one weight."""
TRANSPOSED = 0.4
"""Writing one element of the gradient of w_ih for ids, which our operators compute transposed."""
FETCH = 1.5
"""Reading or adding to one element of a column of w_ih, which is not contiguous."""

KEPT = 32 << 20
"""From so many bytes on, glibc's malloc gives memory back to the system when it is freed: the next call has to get it anew."""
NEVER_A_LOOP = 4
"""Up to so many steps a layer without ids never trains faster by our operators; see `loop_is_faster`."""


class Sizes(NamedTuple):
    """What the cost of a call depends on.

    Attributes:
        cell: a cell that torch has a function for.
        dtype: that of the weights.
        T: steps.
        B: samples.
        N: steps of all samples together; T B where all have T.
        I: inputs, or ids in the vocabulary.
        H: units.
        L: layers.
        D: directions.
    """

    cell: str
    dtype: torch.dtype
    T: int
    B: int
    N: int
    I: int
    H: int
    L: int = 1
    D: int = 1

    @property
    def rows(self) -> int:
        """Rows of w_ih and w_hh: G H."""
        return NUMBERS[self.cell].gates * self.H

    @property
    def fused(self) -> bool:
        """Whether torch runs the call by oneDNN's kernel for whole LSTM layers, not step by step."""
        return self.cell == "lstm" and torch._C._get_mkldnn_enabled() and _onednn_has(self.dtype)

    @property
    def padding(self) -> int:
        """Steps past the end of a sample."""
        return self.T * self.B - self.N


@cache
def _onednn_has(dtype: torch.dtype) -> bool:
    """Whether oneDNN is there and computes in `dtype` on this processor."""
    if not torch.backends.mkldnn.is_available():
        return False
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    if dtype == torch.float16:
        return bool(torch.ops.mkldnn._is_mkldnn_fp16_supported())
    return dtype == torch.float32


def product() -> float:
    """`PRODUCT` on the threads that torch uses."""
    return PRODUCT / torch.get_num_threads()


def _wasted(B: int) -> float:
    """The share of a step's work that grows with its samples: a product with few rows takes the time of reading its weights."""
    return B / (B + 32)


def too_sparse(s: Sizes) -> bool:
    """Whether padding would take more than four times the memory of the steps of all samples."""
    return 4 * s.N < s.T * s.B


def padded_is_faster(s: Sizes, *, grad: bool, packed: bool) -> bool:
    """Whether samples of several lengths run faster padded, as a dense batch, than packed; `packed`: they are packed already.

    Not without padding. A packed batch does no work past the end of a sample, but torch runs it step by step. Where it runs a
    dense batch so too, only the backward of a batch that is not packed gains.
    """
    if (not s.fused and (packed or not grad)) or not s.padding:
        return False
    macs, passes = s.rows * (s.H + s.I), 3 if grad else 1
    if too_sparse(s):
        return False
    if s.fused:
        wasted = s.padding * macs * product() * _wasted(s.B)
        if packed and not grad:
            stepwise = 4.4 * s.N * s.H + s.T * (8_000 + 0.05 * macs) - 220_000
        else:
            stepwise = s.N * s.H * (100 if grad else 17) + s.T * (80_000 if grad else 9_000)
        return 1.1 * passes * (wasted + REORDER * macs) < stepwise
    wasted = s.padding * (8 * s.H + macs * product() * _wasted(s.B))
    return passes * (wasted + COPY * s.rows * s.I) < 200_000


def distinct(s: Sizes) -> float:
    """The expected number of different ids, if all are equally likely; of a text there are fewer."""
    return -s.I * expm1(-s.N / s.I)


def columns_are_faster(s: Sizes, width: float, *, grad: bool) -> bool:
    """Whether one column of w_ih for each of `width` ids makes a faster product than all columns."""
    each = (0.3 if s.fused else 0.05) + s.N * product()
    saved = (3 if grad else 1) * s.rows * (s.I - width) * each
    return saved > (40_000 if grad else 15_000) + (2 if grad else 1) * s.rows * width * FETCH


def counting_is_faster(s: Sizes, *, grad: bool) -> bool:
    """Whether it repays to find the different ids, and to use the columns of these alone."""
    if s.N < 8 or s.I < 200:  # a product with few columns takes the time of its result
        return False
    spared = min(s.N, s.I) - distinct(s)
    return (3 if grad else 1) * s.rows * spared * (0.3 + s.N * product()) > 40_000


def one_hot_is_faster(s: Sizes, *, grad: bool) -> bool:
    """Whether all columns of w_ih are multiplied by one-hot rows."""
    if counting_is_faster(s, grad=grad):
        return False
    return s.N >= s.I or not columns_are_faster(s, s.N, grad=grad)


def _features(s: Sizes, *, grad: bool) -> float:
    """Time that ids as features add to torch's function: a product and, in training, one or two for gradients."""
    width, passes = distinct(s), (3 if s.fused else 2) if grad else 1
    return s.D * s.rows * width * (passes * s.N * product() + (2 if grad else 1) * FETCH)


def features_are_faster(s: Sizes, *, grad: bool) -> bool:
    """Whether token ids run faster as features in torch's function than as a gather before our operators.

    Features cost torch a product; our operators cost a Python loop over the steps.
    """
    if s.T == 1 and s.N <= 64:
        return True
    if grad and not s.fused and loop_is_faster(s, ids=True):
        return False
    if NUMBERS[s.cell].gates == 1:
        fixed, step, element, growth = (600e3, 0.0, 2.5, 0.0) if grad else (130e3, 1.2e3, 1.3, 0.0)
    elif grad:
        fixed, step, element, growth = 600e3, 40e3, 18, 0.12
    else:
        fixed, step, element, growth = (200e3, 12e3, 10, 0.035) if s.fused else (200e3, 6e3, 5, 0.03)
    loop = fixed + s.L * s.D * (s.T * step + s.N * s.H * (element + growth * s.H))
    return _features(s, grad=grad) < loop


def steps_alone_are_faster(s: Sizes, *, grad: bool) -> bool:
    """Whether a call of one step runs faster by torch's cells: the preparation of oneDNN's layer does not pay for it."""
    return s.fused and (grad or s.B <= 32 or s.B * s.H <= 2048)


def loop_is_faster(s: Sizes, *, ids: bool = False, packed: bool = False) -> bool:
    """Whether a layer trains faster by our operators, with a hand-derived backward, than by torch.

    That is where torch differentiates step by step. Each step saves torch's entries of operators and its addition to the
    gradient of w_hh, and costs time by its elements, more where a layer's gates take `KEPT` bytes. With `ids` it also saves the
    product with features. Rows that are `packed` are unpacked first.
    """
    if s.fused or too_sparse(s):
        return False
    gates, ragged = NUMBERS[s.cell].gates, s.N < s.T * s.B
    step, element, square = (1700, 0.75, 1 / 32) if gates == 1 else (5000, 1, 1 / 8)
    fixed = 75_000.0
    if packed and ragged:  # the rows of an RNN are more of its work
        square, fixed = (square / 2, 100_000 + 0.4 * s.N * s.H) if gates == 1 else (square, 100_000)
    wasted = s.padding * s.H * 6 * min(gates, 3) * s.H * product() * _wasted(s.B) / 16
    held = s.D * s.T * s.B * NUMBERS[s.cell].saved * s.H * s.dtype.itemsize  # of one layer's gates
    fresh = 0.08 * held if held >= KEPT else 0.0
    saved = s.T * (step - (0.3 if ragged else element) * s.B * s.H) + (s.T - 5) * s.H * s.H * square
    spared = (_features(s, grad=True) - TRANSPOSED * s.D * s.rows * s.I) / 7 if ids else 0.0
    return s.D * saved + spared > fixed + s.D * wasted + fresh


SHORT_PIECES = 8
"""Mean steps between resets below which the pieces are few steps of many samples, which torch runs faster than a loop."""
SMALL_LSTM = 1 << 12
"""B H below which oneDNN's LSTM runs the pieces faster than a loop of operators runs the whole."""


def loop_beats_pieces(s: Sizes, piece: float) -> bool:
    """Whether a loop of operators runs a call with resets, `piece` steps apart, faster than torch runs its pieces as samples."""
    return piece >= SHORT_PIECES and (s.cell != "lstm" or s.B * s.H >= SMALL_LSTM)
