"""A launch configuration of a sweep, and what follows from it: programs, launches, shared memory and registers."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fusedrnn.kernels.cell import NUMBERS

ROOM = 188
"""Upper limit for `registers`: what the rest of a sweep leaves of a thread's registers on sm_80, which spills before the others."""
NORM_ROOM = 144
"""The same with layer normalisation, whose gains and sums take registers too; found by compiling the table's rows. Programs of four
warps have room for 16 more, and so have cells without c."""
WHOLE = 8
"""Rows of polled tensors are padded to a multiple of this many elements: whole 16-byte loads for any dtype."""


@dataclass(frozen=True)
class Row:
    """A launch configuration of a sweep.

    Attributes:
        units: units per program, with all their gates.
        samples: samples per program.
        depth: width of a chunk: columns of the recurrent product that a warp loads at a time.
        chunks: chunks per warp; 0 in the table, where H is not known, and for streamed weights, whose loop depends on H.
        weights: where the weights are kept, one of `table.PLACES`.
        warps: warps per program; each computes a part of the columns of the product.
        group: chunks of the operand that are polled together; 0 in the table: as many as the registers allow.
        reason: why this configuration.
        per_sm: programs that are guaranteed to run on one SM at the same time.
    """

    units: int
    samples: int
    depth: int
    chunks: int
    weights: str
    warps: int
    group: int = 1
    reason: str = ""
    per_sm: int = 1


def padded(H: int) -> int:
    """H rounded up to whole 16-byte loads: the row width of polled tensors."""
    return -(-H // WHOLE) * WHOLE


def even(row: Row, H: int) -> bool:
    """Whether the chunks of a filled-in row cover exactly the `padded` width."""
    return padded(H) == row.warps * row.depth * row.chunks


def fits(row: Row, H: int, multiprocessors: int) -> bool:
    """Whether all programs of a lane are guaranteed to run at the same time, so that they may wait for each other."""
    return slices(row, H) <= multiprocessors * row.per_sm


def waves(row: Row, H: int, B: int, D: int, multiprocessors: int) -> int:
    """Number of launches, one after the other, that run all lanes."""
    return -(-lanes(row, B, D) // at_once(row, H, multiprocessors))


def lanes(row: Row, B: int, D: int) -> int:
    """Number of lanes: batch tiles of all directions."""
    return -(-B // row.samples) * D


def at_once(row: Row, H: int, multiprocessors: int) -> int:
    """Number of lanes that are guaranteed to run at the same time; at least 1."""
    return max(1, multiprocessors * row.per_sm // slices(row, H))


def slices(row: Row, H: int) -> int:
    """Programs per lane: enough for H units; the units past H write the padding."""
    return -(-H // row.units)


def shared_bytes(row: Row, cell: str, itemsize: int) -> int:
    """Bytes of shared memory per program, at most, in either sweep: partial products of the warps, states handed on, weights."""
    gates, tile = NUMBERS[cell].gates, row.units * row.samples
    parts = gates * tile * max(itemsize, 4)
    if row.weights == "alone":
        return parts + max(gates, NUMBERS[cell].phases) * tile * itemsize
    width = row.warps * row.depth * row.chunks
    return row.warps * parts + (gates * row.units * width * itemsize if row.weights == "shared" else 0)


def filled(row: Row, H: int) -> Row:
    """The row with ``chunks`` set so that they cover H: 1 for "alone", 0 (not counted) for "streamed"."""
    counts = {"alone": 1, "streamed": 0}
    return replace(row, chunks=counts.get(row.weights, -(-H // (row.warps * row.depth))))


def registers(row: Row, sweep: str, cell: str) -> int:
    """Registers per thread for weights, operands polled together with their addresses and, in the backward, gradients."""
    gates = NUMBERS[cell].gates
    kept = gates * (row.chunks if row.weights in ("alone", "registers") else 1)
    units = row.units // row.warps if row.weights == "alone" else row.units
    together = min(row.group, operands(row, sweep, cell))
    return units * kept + row.samples * 3 * together // 2 + (row.samples if sweep == "backward" else 0)


def operands(row: Row, sweep: str, cell: str) -> int:
    """Chunks that a filled-in row polls per step: of the state, or in the backward of the gradients of all gates."""
    return row.chunks * (NUMBERS[cell].gates if sweep == "backward" else 1)


def room_for(row: Row, cell: str, *, norm: bool) -> int:
    """The limit for `registers`."""
    if not norm:
        return ROOM
    return NORM_ROOM + 16 * (row.warps <= 4) + 16 * (not NUMBERS[cell].has_c)


def grouped(row: Row, sweep: str, cell: str, *, norm: bool = False) -> Row | None:
    """The row with ``group`` set: the fewest groups, of about equal size, that fit in registers.

    None if not even one chunk fits, or if all chunks do not fit at once and there are fewer than 8 warps.
    """
    if row.group:
        return row
    all_, room = operands(row, sweep, cell), room_for(row, cell, norm=norm)
    most = max((n for n in range(1, all_ + 1) if registers(replace(row, group=n), sweep, cell) <= room), default=0)
    if most == 0 or (most < all_ and row.warps < 8):
        return None
    groups = -(-all_ // most)
    return replace(row, group=-(-all_ // groups))
