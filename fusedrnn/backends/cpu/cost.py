"""Which form of a call is the fastest on a CPU: rules from the work that each form does.

Times are in nanoseconds. The constants were measured on a CPU with AVX-512 (`benchmarks/NOTES.md`), but only their ratios matter:
the cost of entering an operator against that of a multiplication. What differs between machines by more than that is asked:
whether torch has a fused LSTM (oneDNN) for the call, and the number of threads.

T steps, B samples, N = T B rows, I inputs, H units, G gates, D directions.
"""

from __future__ import annotations

import torch

from fusedrnn.kernels.cell import NUMBERS

PRODUCT = 0.021
"""A multiplication and an addition of a large product, on one thread."""
REORDER = 0.9
"""Bringing one weight into oneDNN's layout, which a call does for all weights."""
COPY = 0.33
"""Copying one weight."""


def fused_lstm(dtype: torch.dtype) -> bool:
    """Whether torch runs an LSTM of `dtype` by oneDNN's kernel for whole layers, not step by step."""
    return dtype == torch.float32 and torch.backends.mkldnn.is_available() and torch._C._get_mkldnn_enabled()


def product() -> float:
    """`PRODUCT` on the threads that torch uses."""
    return PRODUCT / torch.get_num_threads()


def _wasted(B: int) -> float:
    """The share of a step's work that grows with its samples: a product with few rows takes the time of reading its weights."""
    return B / (B + 32)


def too_sparse(T: int, B: int, rows: int | None) -> bool:
    """Whether padding would take more than four times the memory of the `rows` steps of all samples; None for all steps."""
    return rows is not None and 4 * rows < T * B


def padded_is_faster(
    cell: str, dtype: torch.dtype, T: int, B: int, width: int, H: int, *, rows: int, grad: bool
) -> bool:
    """Whether samples of several lengths run faster padded, as a dense batch, than packed.

    A packed batch does no work past the end of a sample, but torch runs it step by step. `rows`: steps of all samples together.
    `width`: I.
    """
    N, macs, passes, gates = T * B, H * (H + width), 3 if grad else 1, NUMBERS[cell].gates
    if too_sparse(T, B, rows):
        return False
    if cell == "lstm" and fused_lstm(dtype):
        wasted = (N - rows) * gates * macs * product() * _wasted(B)
        stepwise = rows * H * (100 if grad else 17) + T * (80_000 if grad else 9_000)
        return 1.1 * passes * (wasted + REORDER * gates * macs) < stepwise
    wasted = (N - rows) * (8 * H + gates * macs * product() * _wasted(B))
    return passes * (wasted + COPY * gates * H * width) < (200_000 if grad else 50_000)


def features_are_faster(cell: str, dtype: torch.dtype, B: int, H: int, width: int) -> bool:
    """Whether token ids run faster as features of that width in torch's function than as a gather before our operators.

    Features cost torch a product; our operators cost a Python loop over the steps.
    """
    if cell == "lstm" and fused_lstm(dtype):
        return width < 250 + 200_000 / (B * H)
    return width < 60 + 130_000 / (B * H)


def steps_alone_are_faster(cell: str, T: int, B: int, *, grad: bool) -> bool:
    """Whether a call runs faster as calls of torch's cells: one step, for which a layer's preparation does not pay."""
    return T == 1 and (cell == "gru" or B <= 32 or grad)


def loop_is_faster(cell: str, dtype: torch.dtype, T: int, B: int, H: int, D: int, *, rows: int | None = None) -> bool:
    """Whether a layer trains faster by our operators, with a hand-derived backward, than by torch.

    That is where torch differentiates step by step. Each step saves torch's entries of operators and its addition to the
    gradient of w_hh, and costs time by its elements. `rows`: steps of all samples together, if their lengths differ.
    """
    if cell not in ("gru", "lstm") or (cell == "lstm" and fused_lstm(dtype)) or too_sparse(T, B, rows):
        return False
    wasted = 0.0 if rows is None else (T * B - rows) * H * 18 * H * product() * _wasted(B) / 16
    per_element = 1.0 if rows is None else 0.3
    saved = T * (5000 - per_element * B * H) + (T - 5) * H * H / 8
    return D * saved > 75_000 + D * wasted
