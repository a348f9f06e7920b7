"""The launch table: for every case where the weights are kept and which tile sizes are used, with the reason.

No row has been measured on a GPU. The reasons come from compiled code: registers, spills, shared memory, instructions and cycles
of the time loop in the machine code that Triton 3.7.1 generates, without the GPU, for each chip.
`python -m benchmarks.machine_code.aot` reproduces them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import torch

from fusedrnn.backends.chips import SHARED_BYTES, SMALLEST_SHARED
from fusedrnn.kernels.rows import Row, filled, fits, grouped, shared_bytes, waves

PLACES = ("alone", "registers", "shared", "streamed")
"""Where the weights are kept, in order of preference: in registers of one program that has all units; in registers of several
programs; in shared memory; in global memory, loaded through the caches at every step."""
REGISTERS = 65_536
"""32-bit registers of one SM at every supported capability (CUDA C++ Programming Guide); a thread has at most 255."""


@dataclass(frozen=True)
class Entry:
    """A row of the launch table and the cases that it serves.

    Attributes:
        numbers: "16-bit", "tf32", "exact" (float32 without TF32) or "fp64" products; "any" in the interpreter.
        widest: the largest H.
        row: the launch configuration.
        without: a (sweep, cell) that it does not serve.
        without_norm: every (sweep, cell) that it does not serve with layer normalisation, because it spills.
    """

    numbers: str
    widest: int
    row: Row
    without: tuple[str, str] | None = None
    without_norm: tuple[tuple[str, str], ...] = ()


ANY = 1 << 31
TABLE: tuple[Entry, ...] = (
    Entry("16-bit", 64, Row(64, 8, 64, 1, "alone", 4, 1,
        "nothing is exchanged: 963 and 1066 cycles a step, forward and backward, against 1098 and 1479 of four programs "
        "(LSTM, H=64); not beyond, where one SM's exponentials take longer than an exchange (1842 against 1100 at H=128), nor "
        "in float32, whose exact gate functions do so already")),
    Entry("16-bit", 128, Row(16, 8, 64, 0, "registers", 2, 0,
        "2 warps because the exchange and the gates take the time, not the product")),
    Entry("16-bit", 1024, Row(16, 8, 64, 0, "registers", 4, 0,
        "8 samples a program, so that 32 samples of H=512 keep every SM of an H100 at work; 4 warps, for 8 compute each unit "
        "twice: 1399 cycles against 1917 (GRU forward, H=768)")),
    Entry("16-bit", 1024, Row(16, 8, 64, 0, "registers", 8, 0,
        "8 warps where 4 have too few registers; not beyond H=1024, where 16 samples of a GRU are faster from shared memory")),
    Entry("16-bit", 256, Row(16, 16, 64, 0, "registers", 4, 0,
        "twice the samples where the lanes of 8 would take more waves")),
    Entry("16-bit", 512, Row(16, 16, 64, 0, "registers", 8, 0,
        "as above, of 8 warps")),
    Entry("16-bit", 1024, Row(16, 16, 64, 0, "registers", 8, 0,
        "as above; the LSTM's backward would poll one by one: 7540 cycles, two waves of 8 samples take 3622 each (H=1024)"),
        without=("backward", "lstm")),
    Entry("tf32", ANY, Row(16, 8, 32, 0, "registers", 4, 0,
        "4 warps, a unit and sample a thread, because the exact gate functions take more time than the product: 1609 cycles "
        "against 2185 of 2 warps (LSTM forward, H=128)")),
    Entry("tf32", ANY, Row(16, 8, 32, 0, "registers", 8, 0,
        "8 warps where 4 have too few registers")),
    Entry("tf32", ANY, Row(16, 16, 32, 0, "registers", 8, 0,
        "twice the samples where the lanes of 8 would take more waves")),
    Entry("16-bit", ANY, Row(16, 8, 64, 0, "shared", 8, 0,
        "weights that registers cannot hold, as far as shared memory goes")),
    Entry("16-bit", ANY, Row(16, 16, 64, 0, "shared", 8, 0,
        "twice the samples where the lanes of 8 would take more waves: 4844 cycles a step against 3739 (LSTM forward, H=1536)")),
    Entry("16-bit", ANY, Row(16, 32, 64, 0, "shared", 8, 0,
        "as above, of the lanes of 16"), without_norm=(("forward", "lstm"), ("backward", "lstm"))),
    Entry("tf32", ANY, Row(16, 8, 32, 0, "shared", 8, 0,
        "as above in float32")),
    Entry("tf32", ANY, Row(16, 16, 32, 0, "shared", 8, 0,
        "as above")),
    Entry("16-bit", ANY, Row(16, 16, 64, 0, "streamed", 8, 1,
        "the weights fit nowhere on chip and come from the caches at every step")),
    Entry("16-bit", ANY, Row(16, 32, 64, 0, "streamed", 8, 1,
        "twice the samples where the lanes of 16 would take more waves; not the LSTM's forward, which spills 24 "
        "to 56 bytes on sm_80 and sm_120"), without=("forward", "lstm"), without_norm=(("forward", "gru"),)),
    Entry("16-bit", ANY, Row(32, 8, 64, 0, "streamed", 8, 1,
        "twice the units where slices of 16 would be more than run at once: a launch a step costs more than everything else"),
        without_norm=(("forward", "lstm"),)),
    Entry("tf32", ANY, Row(16, 16, 32, 0, "streamed", 8, 1,
        "as above in float32")),
    Entry("exact", ANY, Row(16, 8, 16, 0, "streamed", 8, 1,
        "float32 without TF32: no tensor-core product of this accuracy; multiplications and additions of single numbers serve "
        "every H"), without=("forward", "lstm")),
    Entry("exact", ANY, Row(16, 8, 8, 0, "streamed", 8, 1,
        "for the LSTM's forward, which spills up to 24 bytes with chunks of 16 on sm_80 and sm_120")),
    Entry("exact", ANY, Row(16, 16, 8, 0, "streamed", 8, 1,
        "twice the samples where the lanes of 8 would take more waves")),
    Entry("fp64", ANY, Row(16, 8, 4, 0, "streamed", 8, 1,
        "float64, in the same simple way; chunks of 8 spill more than 100 bytes (LSTM forward)")),
)  # fmt: skip
"""`choose` takes the first place that fits; within it lanes that run at once, then fewest waves, then the order of the table."""

INTERPRETED: tuple[Entry, ...] = (
    Entry("any", 16, Row(16, 16, 16, 1, "alone", 1, 1,
        "interpreter: fewest operations a step")),
    Entry("any", 32, Row(16, 8, 16, 0, "registers", 2, 1,
        "interpreter: several programs, parts and groups, as on a GPU")),
    Entry("any", 48, Row(16, 16, 16, 0, "shared", 2, 1,
        "interpreter: as above")),
    Entry("any", ANY, Row(32, 16, 16, 0, "streamed", 2, 1,
        "interpreter: any H")),
)  # fmt: skip


def kind_of(dtype: torch.dtype, tf32: bool) -> str:
    """The kind of products of a dtype, a value of `Entry.numbers`."""
    if dtype in (torch.float16, torch.bfloat16):
        return "16-bit"
    if dtype == torch.float64:
        return "fp64"
    return "tf32" if dtype == torch.float32 and tf32 else "exact"


def unserved(capability: tuple[int, int] | None) -> str | None:
    """Why the sweeps do not run on a device, or None. They need NVIDIA's sm_80 or newer, or the interpreter (None)."""
    if torch.version.hip:
        return "expected a GPU of NVIDIA's, got one of AMD's"
    if capability is not None and capability < (8, 0):
        return f"expected a GPU of compute capability 8.0 or above, got {capability[0]}.{capability[1]}"
    return None


def candidates(
    sweep: str,
    cell: str,
    dtype: torch.dtype,
    H: int,
    capability: tuple[int, int] | None,
    tf32: bool,
    norm: bool = False,
) -> Iterator[Row]:
    """Yield the rows that can serve a call and fit on the chip, with the sizes that depend on H filled in."""
    room = ANY if capability is None else SHARED_BYTES.get(capability, SMALLEST_SHARED)
    if capability is None and norm:
        yield replace(
            INTERPRETED[-1].row, units=max(16, 1 << (H - 1).bit_length())
        )  # one program, which waits for none
        return
    for entry in INTERPRETED if capability is None else TABLE:
        if entry.numbers not in ("any", kind_of(dtype, tf32)) or entry.widest < H or entry.without == (sweep, cell):
            continue
        if norm and (sweep, cell) in entry.without_norm:
            continue
        row = grouped(filled(entry.row, H), sweep, cell, norm=norm)
        if row is None:
            continue
        needed = shared_bytes(row, cell, dtype.itemsize)
        if needed <= room:
            together = min(REGISTERS // (32 * row.warps * 256), (room + 1024) // (needed + 1024))
            yield row if capability is None else replace(row, per_sm=max(1, together))


@lru_cache(maxsize=4096)
def runnable(
    sweep: str,
    cell: str,
    dtype: torch.dtype,
    H: int,
    capability: tuple[int, int] | None,
    multiprocessors: int,
    *,
    tf32: bool = True,
    norm: bool = False,
) -> tuple[Row, ...]:
    """The rows that a sweep may be launched with, whatever its batch; `choose` takes one of them. Arguments as there.

    Without `norm`, streamed weights may use one launch per step where the programs of a lane do not fit.
    """
    rows = candidates(sweep, cell, dtype, H, capability, tf32, norm)
    if capability is None:
        return tuple(rows)
    return tuple(row for row in rows if (row.weights == "streamed" and not norm) or fits(row, H, multiprocessors))


@lru_cache(maxsize=4096)
def choose(
    sweep: str,
    cell: str,
    dtype: torch.dtype,
    H: int,
    B: int,
    D: int,
    capability: tuple[int, int] | None,
    multiprocessors: int,
    *,
    tf32: bool = True,
    norm: bool = False,
) -> Row:
    """The row for a sweep ("forward" or "backward") of `cell`, with the tile sizes that depend on H filled in.

    `capability` is the device's, None in the interpreter; `multiprocessors` its number of SMs; `tf32` whether float32 products
    may use TF32; `norm` whether the cell has layer normalisation, for which all programs of a lane run at once.

    Raises:
        RuntimeError: the sweeps do not run on this device, or not with layer normalisation of so many units.
    """
    reason = unserved(capability)
    if reason is not None:
        raise RuntimeError(reason)
    fitting = runnable(sweep, cell, dtype, H, capability, multiprocessors, tf32=tf32, norm=norm)
    for place in PLACES:
        rows = [row for row in fitting if row.weights == place]
        if rows:
            return min(rows, key=lambda row: (not fits(row, H, multiprocessors), waves(row, H, B, D, multiprocessors)))
    if norm:
        raise RuntimeError(f"expected units whose programs all run at once, for layer normalisation, got H={H}")
    raise AssertionError(f"the table has no row for {cell}, {dtype}, H={H}")  # streamed serves every H: tested
