"""The launch table: which form and tiles run a sweep, one frozen row a case, a reason beside each.

No GPU has measured these rows. Their reasons are compile facts (registers, spills, shared memory, read off the machine code that
Triton 3.7.1 makes for absent chips, for bfloat16 on sm_90 unless said otherwise) and say so.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fusedrnn.kernels.chips import SHARED_BYTES, SMALLEST_SHARED


@dataclass(frozen=True)
class Row:
    """How to launch a sweep.

    Attributes:
        block_u: units a program owns, with all their gates.
        block_b: samples a program serves.
        block_k: width of a chunk of the recurrent product, or of a warp's part of it.
        chunks: chunks that cover H, for resident weights; 1 for streamed ones, whose loop runs as long as H needs.
        resident: whether the weights are loaded once, before the time loop, and stay on chip.
        warps: warps a program.
        stages: software pipelining depth.
        group: operand tiles whose loads are under way together, and lie in shared memory together.
        split: into how many parts a chunk's columns are dealt out to the warps; a chunk is split * block_k wide.
        reason: why.
    """

    block_u: int
    block_b: int
    block_k: int
    chunks: int
    resident: bool
    warps: int = 4
    stages: int = 1
    reason: str = ""
    split: int = 1
    group: int = 64


OPERAND_BYTES = 20_480
"""Room that the exchanged state and layout conversions take beside the weights, from the machine code's shared memory."""

SINGLE = Row(
    0, 16, 0, 1, True, 4, 1,
    "the weights fit one program, so nothing is exchanged; 95 to 148 registers at H=64, no spill, wgmma",
)  # fmt: skip
SINGLE_WIDE = Row(
    0, 16, 0, 1, True, 8, 1,
    "as the single form; 8 warps because 4 spill at H=128 (LSTM backward); 99 to 172 registers with 8, no spill",
)  # fmt: skip
SPLIT = Row(
    16, 16, 64, 0, True, 4, 1,
    "each program keeps 16 units' weights; 136 to 198 registers at H=256 to 1024, no spill; chunks of 64 because 128 spill",
)  # fmt: skip
STREAMED = Row(
    32, 16, 64, 1, False, 4, 1,
    "the weights do not fit on chip and come from L2; 126 to 254 registers at H=2048, no spill; 32 samples and 8 warps spill",
)  # fmt: skip
STREAMED_EXACT = Row(
    16, 16, 32, 1, False, 8, 1,
    "float32 and float64: no 16-bit tensor-core product; streamed serves every H, small tiles because 4 warps spill in float64",
)  # fmt: skip
INTERPRETED_SINGLE = Row(0, 16, 0, 1, True, reason="interpreter: fewest operations a step")
INTERPRETED_SPLIT = Row(16, 16, 16, 0, True, reason="interpreter: several programs, so that the exchange is exercised")
INTERPRETED_STREAMED = Row(32, 16, 32, 1, False, reason="interpreter: the form that serves any H")


def choose(
    sweep: str,
    cell: str,
    dtype: torch.dtype,
    H: int,
    B: int,
    D: int,
    capability: tuple[int, int] | None,
    multiprocessors: int,
) -> Row:
    """The row for a sweep ("forward" or "backward") of `cell`, with the tile sizes that depend on H filled in.

    `capability` is the device's, None in the interpreter; `multiprocessors` is how many programs run at once.
    """
    whole = max(16, 1 << (H - 1).bit_length())
    if capability is None:
        if H <= 16:
            return _single(INTERPRETED_SINGLE, whole)
        return _split(INTERPRETED_SPLIT, H) if H <= 48 and dtype != torch.float64 else INTERPRETED_STREAMED
    if dtype not in (torch.float16, torch.bfloat16):
        return STREAMED_EXACT
    room = SHARED_BYTES.get(capability, SMALLEST_SHARED) - OPERAND_BYTES
    gates = 4 if cell == "lstm" else 3
    if whole <= 128 and gates * whole * whole * 2 <= room:
        return _single(SINGLE if whole <= 64 else SINGLE_WIDE, whole)
    split = _split(SPLIT, H)
    fits = gates * split.block_u * split.block_k * split.chunks * 2 <= room
    if fits and -(-H // split.block_u) <= multiprocessors:
        return split
    return STREAMED


def _single(row: Row, whole: int) -> Row:
    return Row(whole, row.block_b, whole, 1, True, row.warps, row.stages, row.reason)


def _split(row: Row, H: int) -> Row:
    return Row(row.block_u, row.block_b, row.block_k, -(-H // row.block_k), True, row.warps, row.stages, row.reason)
