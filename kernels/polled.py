"""The polled sweeps as functions of tensors: fill what is exchanged with the pattern, run, cut the padding off.

Shapes and meanings are those of `sweeps`, which decides whether a call comes here. Rows of what is exchanged are H rounded up to
whole 16-byte loads; the units past H are written as zeros.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import triton
from torch import Tensor

from fusedrnn.kernels import launch
from fusedrnn.kernels.cell import Cell
from fusedrnn.kernels.polled_backward import polled_backward
from fusedrnn.kernels.polled_forward import polled_forward
from fusedrnn.kernels.results import Backward, Dropout, Forward
from fusedrnn.kernels.table import WHOLE, Row, even, padded


def _unwritten(like: Tensor, *shape: int) -> Tensor:
    """All ones in every bit: a NaN that no arithmetic makes."""
    x = like.new_empty(shape)
    x.view(torch.uint8).fill_(255)
    return x


def _cut(x: Tensor, H: int) -> Tensor:
    """The first H of the last dimension, contiguous."""
    return x[..., :H].contiguous()


def _options(row: Row, H: int, meta: dict[str, Any]) -> dict[str, Any]:
    """The constants of a launch."""
    kept = ("CELL", "DIGITS", "ACC", "BLOCK_U", "BLOCK_B", "SPLIT", "BLOCK_K", "CHUNKS", "GROUP",
            "num_warps", "num_stages", "enable_fp_fusion", "maxnreg")  # fmt: skip
    return {name: meta[name] for name in kept} | {"EVEN": even(row, H)}


def forward(
    cell: Cell, row: Row, meta: dict[str, Any], numbers: tuple[Any, ...], form: str,
    gx: Tensor, h0: Tensor, c: Tensor | None, w_hh: Tensor, b_hh: Tensor | None, lengths: Tensor | None,
    *, save: bool, drop: Dropout | None,
) -> Forward:  # fmt: skip
    """As `sweeps.forward`, all contiguous but h0. ``c`` becomes c_n, in the accumulation dtype.

    ``meta`` are the constants that all sweeps share, ``numbers`` and ``form`` those of dropout.
    """
    T, B, D, _ = gx.shape
    H = h0.shape[-1]
    W = padded(H)
    slices, tiles = triton.cdiv(W, row.block_u), triton.cdiv(B, row.block_b)
    state = h0.clone(memory_format=torch.contiguous_format)
    first = h0.new_zeros(D * B * W + WHOLE)
    # a NaN of the user's may be the pattern: it becomes another
    rows = first[: D * B * W].view(D, B, W)[..., :H]
    torch.nan_to_num(h0, nan=math.nan, posinf=math.inf, neginf=-math.inf, out=rows)
    output = _unwritten(gx, T, B, D, W)
    cells = gx.new_empty((T, B, D, H)) if cell.has_c else None
    gates = gx.new_empty((T, B, D, cell.saved * H)) if save else None
    dropped = None if drop is None else gx.new_empty((T, B, D, H))
    seed = None if drop is None else drop.seed
    options = _options(row, H, meta) | {
        "HAS_BIAS": b_hh is not None, "HAS_LENGTHS": lengths is not None, "SAVE": save, "DROP": form,
    }  # fmt: skip

    def arguments(counters: None, errors: Tensor, lane: int, begin: int, end: int, polls: int, launch_id: int) -> Any:
        return (
            gx, w_hh, b_hh, lengths, first, state, c, output, cells, gates, dropped, seed, errors,
            T, B, H, W, D, slices, tiles,
            lane, begin, end, polls, launch_id,
            *numbers,
        )  # fmt: skip

    if B:
        launch.run(
            polled_forward, arguments, options, device=gx.device,
            name=f"forward sweep of {cell.name}, T={T} B={B} H={H} D={D}",
            slices=slices, lanes=tiles * D, ticks=T, exchange=True, per_sm=row.per_sm, counted=False,
        )  # fmt: skip
    return Forward(_cut(output, H), state, cells, None if c is None else c.to(gx.dtype), gates, dropped)


def backward(
    cell: Cell, row: Row, meta: dict[str, Any], numbers: tuple[Any, ...], form: str,
    gates: Tensor, output: Tensor, cells: Tensor | None, h0: Tensor, c0: Tensor | None, w_t: Tensor,
    lengths: Tensor | None, d_output: Tensor, d_cells: Tensor | None, dh: Tensor, dc: Tensor | None, seed: Tensor | None,
) -> Backward:  # fmt: skip
    """As `sweeps.backward`, which has made everything contiguous; ``dh`` and ``dc`` carry the gradients of the states."""
    T, B, D, H = output.shape
    W, S = padded(H), cell.saved
    slices, tiles = triton.cdiv(W, row.block_u), triton.cdiv(B, row.block_b)
    dgates = _unwritten(output, T, B, D, S * W)
    zeros = output.new_zeros(S * W)
    options = _options(row, H, meta) | {
        "HAS_LENGTHS": lengths is not None, "HAS_DCELLS": d_cells is not None, "DROP": form,
    }  # fmt: skip

    def arguments(counters: None, errors: Tensor, lane: int, begin: int, end: int, polls: int, launch_id: int) -> Any:
        return (
            gates, output, cells, h0, c0, w_t, lengths, d_output, d_cells, dh, dc, dgates, zeros, seed, errors,
            T, B, H, W, D, slices, tiles,
            lane, begin, end, polls, launch_id,
            *numbers,
        )  # fmt: skip

    if B:
        launch.run(
            polled_backward, arguments, options, device=output.device,
            name=f"backward sweep of {cell.name}, T={T} B={B} H={H} D={D}",
            slices=slices, lanes=tiles * D, ticks=T + 1, exchange=True, per_sm=row.per_sm, counted=False,
        )  # fmt: skip
    if W != H:
        dgates = _cut(dgates.view(T, B, D, S, W), H).view(T, B, D, S * H)
    return Backward(dgates, dh.to(output.dtype), None if dc is None else dc.to(output.dtype))
