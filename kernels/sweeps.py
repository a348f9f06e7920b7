"""The sweeps as functions of tensors: allocate, choose the launch, run. No autograd; the caller guarantees shapes and devices.

Shapes: T steps, B samples, D directions, H units; G gates of weights and S values saved a unit (``gates`` and ``saved`` of `Cell`).
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from fusedrnn.kernels import launch, polled
from fusedrnn.kernels.backward import backward_sweep
from fusedrnn.kernels.cell import Cell
from fusedrnn.kernels.cells import CELLS
from fusedrnn.kernels.forward import forward_sweep
from fusedrnn.kernels.pointwise import scale_bits, threshold_bits
from fusedrnn.kernels.results import Backward, Dropout, Forward
from fusedrnn.kernels.table import Row, choose

DIGITS = {torch.bfloat16: 8, torch.float16: 11, torch.float32: 24, torch.float64: 53}
"""Bits of the significand, by which the gate functions are chosen (`math`)."""


def accumulator(dtype: torch.dtype) -> torch.dtype:
    """float64 for float64, else float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def precision(dtype: torch.dtype) -> str:
    """How float32 products are formed: torch's own switch for cuDNN's RNNs decides whether TF32 may be used."""
    return "tf32" if dtype == torch.float32 and torch.backends.cudnn.allow_tf32 else "ieee"


def _chosen(sweep: str, cell: str, like: Tensor, H: int, B: int, D: int) -> Row:
    """The table's row for a call on the device of ``like``."""
    capability = None if launch.INTERPRETED else torch.cuda.get_device_capability(like.device)
    tf32 = precision(like.dtype) == "tf32"
    return choose(sweep, cell, like.dtype, H, B, D, capability, launch.capacity(like.device), tf32=tf32)


def _meta(cell: Cell, dtype: torch.dtype, row: Row, slices: int) -> dict[str, Any]:
    """The constants of a launch that both sweeps share."""
    return {
        "CELL": cell,
        "EXCHANGE": slices > 1 or not row.resident or row.split > 1 or cell.phases > 1,
        "RESIDENT": row.resident,
        "DIGITS": DIGITS[dtype],
        "UPCAST": launch.INTERPRETED and dtype in (torch.float16, torch.bfloat16),
        "PRECISION": precision(dtype),
        "ACC": tl.float64 if dtype == torch.float64 else tl.float32,
        "BLOCK_U": row.block_u,
        "BLOCK_B": row.block_b,
        "SPLIT": row.split,
        "BLOCK_K": row.block_k,
        "CHUNKS": row.chunks,
        "GROUP": row.group,
        "num_warps": row.warps,
        "num_stages": row.stages,
        "enable_fp_fusion": True,
        "maxnreg": row.registers,
    }


def _dropout(drop: Dropout | None) -> tuple[tuple[Any, ...], str]:
    """The kernels' ``threshold, scale`` and ``DROP``; without dropout nothing of it is passed."""
    if drop is None:
        return (None, None), ""
    return (threshold_bits(drop.p), scale_bits(drop.p)), "shared" if drop.shared else "each"


def _carried(initial: Tensor, gradient: Tensor | None, dtype: torch.dtype) -> Tensor:
    """What a sweep carries from step to step, of its own: ``gradient``, or 0 if there is none."""
    if gradient is None:
        return initial.new_zeros(initial.shape, dtype=dtype)
    return gradient.to(dtype, copy=True, memory_format=torch.contiguous_format)


def forward(
    cell: str,
    gx: Tensor,
    h0: Tensor,
    c0: Tensor | None,
    w_hh: Tensor,
    b_hh: Tensor | None,
    lengths: Tensor | None,
    row: Row | None = None,
    *,
    save: bool,
    drop: Dropout | None = None,
) -> Forward:
    """Run the forward sweep of ``cell``, a name in `CELLS`.

    gx (T, B, D, G*H), h0 and c0 (D, B, H), w_hh (D, G*H, H), b_hh (D, G*H), lengths (B,) int32; all of one dtype and device.
    ``row`` says how to launch, by default as the table chooses; ``save`` keeps the gates for the backward; with ``drop``
    the output after dropout is written beside the output.
    """
    T, B, D, _ = gx.shape
    H = h0.shape[-1]
    row = row or _chosen("forward", cell, gx, H, B, D)
    slices, tiles = triton.cdiv(H, row.block_u), triton.cdiv(B, row.block_b)
    kind = CELLS[cell]
    meta = _meta(kind, gx.dtype, row, slices)
    gx, w_hh = gx.contiguous(), w_hh.contiguous()
    b_hh = None if b_hh is None else b_hh.contiguous()
    numbers, form = _dropout(drop)
    if row.polled:
        c = None if c0 is None else _carried(c0, c0, accumulator(gx.dtype))
        return polled.forward(kind, row, meta, numbers, form, gx, h0, c, w_hh, b_hh, lengths, save=save, drop=drop)
    state = gx.new_empty((2, D, B, H))
    state[0] = h0
    aux = gx.new_empty((D, B, H), dtype=accumulator(gx.dtype))
    if c0 is not None:
        aux.copy_(c0)
    reset = gx.new_empty((D, B, H)) if kind.phases > 1 else None
    output = gx.new_empty((T, B, D, H))
    cells = gx.new_empty((T, B, D, H)) if kind.has_c else None
    gates = gx.new_empty((T, B, D, kind.saved * H)) if save else None
    dropped = None if drop is None else gx.new_empty((T, B, D, H))
    seed = None if drop is None else drop.seed
    options = {**meta, "HAS_BIAS": b_hh is not None, "HAS_LENGTHS": lengths is not None, "SAVE": save, "DROP": form}

    def arguments(counters: Tensor, errors: Tensor, lane: int, begin: int, end: int, polls: int, launch_id: int) -> Any:
        return (
            gx, w_hh, b_hh, lengths, state, aux, reset, output, cells, gates, dropped, seed,
            counters, errors,
            T, B, H, D, slices, tiles,
            lane, begin, end, polls, launch_id,
            *numbers,
        )  # fmt: skip

    if B:
        launch.run(
            forward_sweep, arguments, options, device=gx.device, name=f"forward sweep of {cell}, T={T} B={B} H={H} D={D}",
            slices=slices, lanes=tiles * D, ticks=T * kind.phases, exchange=meta["EXCHANGE"], per_sm=row.per_sm,
        )  # fmt: skip
    c_n = aux.to(gx.dtype) if kind.has_c else None
    return Forward(
        output, state[T % 2].clone(), cells, c_n, gates, dropped
    )  # of its own: one slot of two would keep both


def backward(
    cell: str,
    gates: Tensor,
    output: Tensor,
    cells: Tensor | None,
    h0: Tensor,
    c0: Tensor | None,
    w_hh: Tensor,
    lengths: Tensor | None,
    d_output: Tensor,
    d_h_n: Tensor | None,
    d_cells: Tensor | None,
    d_c_n: Tensor | None,
    row: Row | None = None,
    drop: Dropout | None = None,
) -> Backward:
    """Run the backward sweep; arguments as ``forward`` took and returned them, gradients shaped as what they belong to.

    Absent gradients of the final states are None. With ``drop``, ``d_output`` is the gradient of the output after dropout.
    """
    T, B, D, H = output.shape
    row = row or _chosen("backward", cell, output, H, B, D)
    slices, tiles = triton.cdiv(H, row.block_u), triton.cdiv(B, row.block_b)
    kind = CELLS[cell]
    meta = _meta(kind, output.dtype, row, slices)
    acc = accumulator(output.dtype)
    w_t = w_hh.transpose(1, 2).contiguous()
    h0, d_output = h0.contiguous(), d_output.contiguous()
    c0 = None if c0 is None else c0.contiguous()
    d_cells = None if d_cells is None else d_cells.contiguous()
    dh = _carried(h0, d_h_n, acc)
    dc = None if c0 is None else _carried(c0, d_c_n, acc)
    seed = None if drop is None else drop.seed
    numbers, form = _dropout(drop)
    if row.polled:
        return polled.backward(
            kind, row, meta, numbers, form,
            gates, output, cells, h0, c0, w_t, lengths, d_output, d_cells, dh, dc, seed,
        )  # fmt: skip
    dgates = output.new_empty((T, B, D, kind.saved * H))
    options = {**meta, "HAS_LENGTHS": lengths is not None, "HAS_DCELLS": d_cells is not None, "DROP": form}

    def arguments(counters: Tensor, errors: Tensor, lane: int, begin: int, end: int, polls: int, launch_id: int) -> Any:
        return (
            gates, output, cells, h0, c0, w_t, lengths, d_output, d_cells, dh, dc, dgates,
            counters, errors, seed,
            T, B, H, D, slices, tiles,
            lane, begin, end, polls, launch_id,
            *numbers,
        )  # fmt: skip

    if B:
        ticks = T * kind.phases + (1 if meta["EXCHANGE"] else 0)
        launch.run(
            backward_sweep, arguments, options, device=output.device,
            name=f"backward sweep of {cell}, T={T} B={B} H={H} D={D}",
            slices=slices, lanes=tiles * D, ticks=ticks, exchange=meta["EXCHANGE"], per_sm=row.per_sm,
        )  # fmt: skip
    return Backward(dgates, dh.to(output.dtype), None if dc is None else dc.to(output.dtype))
