"""Launchers of the sweeps: allocate, fill the exchanged tensors with the pattern of `poll`, launch, remove the padding.

No autograd; shapes and devices are not checked. T: steps, B: samples, D: directions, H: units, G: gates, S: saved values per unit
(``gates`` and ``saved`` of `Cell`). Rows of exchanged tensors are padded from H to whole 16-byte loads; the padding is written as
zeros.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from fusedrnn.kernels import launch
from fusedrnn.kernels.backward import backward_sweep
from fusedrnn.kernels.cells import CELLS
from fusedrnn.kernels.forward import forward_sweep
from fusedrnn.kernels.options import NormTensors, carried, centred, cut, new_cells, noise_of, norm_of, started, sums_of
from fusedrnn.kernels.pointwise import scale_bits, threshold_bits
from fusedrnn.kernels.rows import WHOLE, Row, even, padded, slices
from fusedrnn.kernels.table import choose, runnable
from fusedrnn.kernels.tiles import Tiles
from fusedrnn.operators.normalised import Normalised
from fusedrnn.operators.results import Backward, Dropout, Forward
from fusedrnn.precision import rnn_tf32
from fusedrnn.reference.noise import Noise
from fusedrnn.reference.norm import Gains

DIGITS = {torch.bfloat16: 8, torch.float16: 11, torch.float32: 24, torch.float64: 53}
"""Bits of the significand of each dtype; they select the gate functions (`math`)."""
LAUNCH = {"enable_fp_fusion": True, "maxnreg": 255}
"""Options of every launch. ``maxnreg`` is set because by default ptxas spills a few registers for an occupancy that no sweep
needs."""


def accumulator(dtype: torch.dtype) -> torch.dtype:
    """Return the accumulation dtype: float64 for float64, else float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def tiles_of(row: Row, H: int, dtype: torch.dtype, *, tf32: bool) -> Tiles:
    """The constexpr ``TILES`` of a row whose sizes are filled in."""
    bits = dtype.itemsize * 8
    return Tiles(
        row.units, row.samples, row.warps, row.depth, row.chunks, row.group, row.weights,
        tensor=bits == 16 or (bits == 32 and tf32), even=even(row, H), bits=bits,
    )  # fmt: skip


def _unwritten(like: Tensor, *shape: int) -> Tensor:
    """A new tensor with all bits one, which `poll` takes for not yet written."""
    x = like.new_empty(shape)
    x.view(torch.uint8).fill_(255)
    return x


def _first(h0: Tensor, W: int) -> Tensor:
    """h_0 (D, B, H) as (B, D, W), then 8 zeros, flat. Replaces NaNs: one in the user's tensor might be the pattern of `poll`."""
    D, B, H = h0.shape
    first = h0.new_zeros(D * B * W + WHOLE)
    rows = first[: D * B * W].view(B, D, W).transpose(0, 1)[..., :H]
    torch.nan_to_num(h0, nan=math.nan, posinf=math.inf, neginf=-math.inf, out=rows)
    return first


def _chosen(
    sweep: str, cell: str, like: Tensor, H: int, B: int, D: int, row: Row | int | None, *, norm: bool = False
) -> Row:
    """The launch row: the given one, the one at this place in `runnable`, or the table's choice."""
    if isinstance(row, Row):
        return row
    chip = (None if launch.INTERPRETED else torch.cuda.get_device_capability(like.device), launch.capacity(like.device))
    if row is None:
        return choose(sweep, cell, like.dtype, H, B, D, *chip, tf32=rnn_tf32(), norm=norm)
    return runnable(sweep, cell, like.dtype, H, *chip, tf32=rnn_tf32(), norm=norm)[row]


def _launch(
    kernel: Any,
    sweep: str,
    cell: str,
    tensors: tuple[Any, ...],
    sizes: tuple[int, int, int, int],
    row: Row,
    drop: Dropout | None,
    noise: Noise | None,
    heads: int,
    **constants: bool | int,
) -> None:
    """Launch a sweep; if B is 0, do nothing.

    ``tensors``: the kernel's tensor arguments before error_ptr; the first one has the dtype and device. ``sizes``: T, B, D, H.
    """
    T, B, D, H = sizes
    if not B:
        return
    like, device = tensors[0], tensors[0].device
    programs, tiles = slices(row, H), triton.cdiv(B, row.samples)
    numbers = (None, None) if drop is None else (threshold_bits(drop.p), scale_bits(drop.p))
    modes, noise_numbers = noise_of(noise)
    options = LAUNCH | constants | {
        "CELL": CELLS[cell],
        "DROP": "" if drop is None else "shared" if drop.shared else "each",
        "DIGITS": DIGITS[like.dtype],
        "ACC": tl.float64 if like.dtype == torch.float64 else tl.float32,
        "NOISE": modes, "HEADS": heads,
        "TILES": tiles_of(row, H, like.dtype, tf32=rnn_tf32()),
        "num_warps": row.warps,
    }  # fmt: skip

    def arguments(errors: Tensor, lane: int, begin: int, end: int, polls: int, launch_id: int) -> Any:
        return (
            *tensors, errors,
            T, B, H, padded(H), D, programs, tiles,
            lane, begin, end, polls, launch_id,
            *numbers,
            *noise_numbers,
        )  # fmt: skip

    launch.run(
        kernel, arguments, options, device=device, name=f"{sweep} sweep of {cell}, T={T} B={B} H={H} D={D}",
        slices=programs, lanes=tiles * D, ticks=T * CELLS[cell].phases + (sweep == "backward"), per_sm=row.per_sm,
        whole=constants["NORM"] > 1,
    )  # fmt: skip


def forward(
    cell: str,
    gx: Tensor,
    h0: Tensor,
    c0: Tensor | None,
    w_hh: Tensor,
    b_hh: Tensor | None,
    lengths: Tensor | None,
    row: Row | int | None = None,
    *,
    save: bool,
    drop: Dropout | None = None,
    resets: Tensor | None = None,
    noise: Noise | None = None,
    heads: int = 1,
    gains: Gains | None = None,
) -> Forward:
    """Run the forward sweep of ``cell``, a name in `CELLS`.

    gx (T, B, D, G*H), h0 and c0 (D, B, H), w_hh (D, G*H, H), b_hh (D, G*H), lengths (B,) int32; all of one dtype and device.
    ``row``: launch configuration, or its place in `runnable`; by default chosen from the table. ``save``: keep the gates for the
    backward sweep. ``drop``: also return the output after dropout. ``resets``, ``noise``, ``heads``: those of
    `fusedrnn.reference.loop.over_time`; ``gains``: those of `fusedrnn.reference.norm`.
    """
    T, B, D, _ = gx.shape
    H = h0.shape[-1]
    W = padded(H)
    kind = CELLS[cell]
    row = _chosen("forward", cell, gx, H, B, D, row, norm=gains is not None)
    norm = 0 if gains is None else norm_of(slices(row, H))
    gx, w_hh = gx.contiguous(), (w_hh if gains is None else centred(w_hh).to(gx.dtype)).contiguous()
    b_hh = None if b_hh is None else b_hh.contiguous()
    state = h0.clone(memory_format=torch.contiguous_format)
    first = _first(h0, W)
    kept = None
    if kind.has_c or kind.late:
        kept = carried(h0, c0, accumulator(gx.dtype))
    output = _unwritten(gx, T, B, D, W)
    late = _unwritten(gx, T, B, D, W) if kind.late else None
    cells = gx.new_empty((T, B, D, H)) if kind.has_c else None
    gates = gx.new_empty((T, B, D, kind.saved * H)) if save else None
    dropped = None if drop is None else gx.new_empty((T, B, D, H))
    seed = None if drop is None else drop.seed
    anew, noise_seed = started(resets, lengths, D, heads), None if noise is None else noise.seed
    first_c = None if anew is None or c0 is None else c0.contiguous()
    tensors = (gx, w_hh, b_hh, lengths, first, first_c, anew, state, kept,
               output, late, cells, gates, dropped, seed, noise_seed,
               *(gains or (None, None, None)), sums_of(gx, norm, slices(row, H), T, B, D, 3 if kind.has_c else 1))  # fmt: skip
    _launch(
        forward_sweep, "forward", cell, tensors, (T, B, D, H), row, drop, noise, heads,
        HAS_BIAS=b_hh is not None, HAS_LENGTHS=lengths is not None, RESETS=anew is not None, SAVE=save, NORM=norm,
    )  # fmt: skip
    c_n = kept.to(gx.dtype) if kind.has_c and kept is not None else None
    return Forward(cut(output, H), state, cells, c_n, gates, dropped)


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
    row: Row | int | None = None,
    drop: Dropout | None = None,
    resets: Tensor | None = None,
    noise: Noise | None = None,
    heads: int = 1,
    norm: Normalised | None = None,
) -> Backward:
    """Run the backward sweep on arguments and results of ``forward``; a gradient has the shape of its tensor.

    d_h_n, d_cells and d_c_n may be None. With ``drop``, ``d_output`` is the gradient of the output after dropout.
    """
    T, B, D, H = output.shape
    kind = CELLS[cell]
    W, S = padded(H), kind.saved
    acc = accumulator(output.dtype)
    row = _chosen("backward", cell, output, H, B, D, row, norm=norm is not None)
    norm_slices = 0 if norm is None else norm_of(slices(row, H))
    sums = sums_of(output, norm_slices, slices(row, H), T, B, D, 3 if kind.has_c else 1, ends=True)
    anew = started(resets, lengths, D, heads)
    given = None
    if norm is not None:
        w = centred(w_hh)
        given = NormTensors.of(norm, w, new_cells(gates, cells, c0, lengths, anew, noise, heads), h0)
        w_hh = (w * norm.gains.gain_hh.unsqueeze(-1)).to(w_hh.dtype)
    w_t = w_hh.transpose(1, 2).contiguous()
    h0, d_output = h0.contiguous(), d_output.contiguous()
    c0 = None if c0 is None else c0.contiguous()
    d_cells = None if d_cells is None else d_cells.contiguous()
    dh = carried(h0, d_h_n, acc)
    dc = None if c0 is None else carried(c0, d_c_n, acc)
    dgates = _unwritten(output, T, B, D, S * W)
    zeros = output.new_zeros(S * W)
    seed = None if drop is None else drop.seed
    noise_seed = None if noise is None else noise.seed
    dh_more = None if anew is None else torch.zeros_like(dh)
    dc_more = None if anew is None or dc is None else torch.zeros_like(dc)
    tensors = (gates, output, cells, h0, c0, w_t, lengths, anew, d_output, d_cells,
               dh, dc, dh_more, dc_more, dgates, zeros, seed, noise_seed,
               *(given or (None,) * 9), sums)  # fmt: skip
    _launch(
        backward_sweep, "backward", cell, tensors, (T, B, D, H), row, drop, noise, heads,
        HAS_LENGTHS=lengths is not None, RESETS=anew is not None, HAS_DCELLS=d_cells is not None,
        NORM=norm_slices,
    )  # fmt: skip
    dh = dh if dh_more is None else dh + dh_more
    dc = dc if dc is None or dc_more is None else dc + dc_more
    if W != H:
        dgates = cut(dgates.view(T, B, D, S, W), H).view(T, B, D, S * H)
    found = () if given is None else given.gradients
    return Backward(dgates, dh.to(output.dtype), None if dc is None else dc.to(output.dtype), *found)
