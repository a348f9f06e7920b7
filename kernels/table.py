"""The launch table: which form and tiles run a sweep, one frozen row a case, a reason beside each.

No GPU has measured these rows. Their reasons are compile facts (registers, spills, shared memory, instructions and cycles of the
time loop, read off the machine code that Triton 3.7.1 makes for absent chips) and say so. `python -m benchmarks.aot` reads them
again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import torch

from fusedrnn.kernels.cell import NUMBERS
from fusedrnn.kernels.chips import SHARED_BYTES, SMALLEST_SHARED

CELLS = tuple(NUMBERS)
DOUBLE_TENSOR_CORES = {(8, 0), (9, 0)}
"""Where Triton 3.7.1 has tensor-core products of float64: seen in its machine code; for sm_100 it makes none."""
REGISTERS = 65_536
"""Of one SM, every capability here (CUDA C++ Programming Guide); a thread has at most 255 of them."""

WHOLE = 8
"""16-bit numbers in the load of a thread."""


@dataclass(frozen=True)
class Row:
    """How to launch a sweep; a 0 in the table is filled in from H.

    Attributes:
        block_u: units a program owns, with all their gates.
        block_b: samples a program serves.
        block_k: width of a chunk of the recurrent product, or of a warp's part of it.
        chunks: chunks that cover H, for resident weights; 1 for streamed ones, whose loop runs as long as H needs.
        resident: whether the weights are loaded once, before the time loop, and stay on chip.
        warps: warps a program.
        stages: software pipelining depth.
        reason: why.
        split: into how many parts a chunk's columns are dealt out to the warps; a chunk is split * block_k wide.
        group: operand tiles whose loads are under way together, and lie in shared memory together.
        per_sm: programs that certainly run on one SM at the same time.
        polled: whether the exchanged data is its own flag and the weights lie in registers (`tiles`); ``split``
            is then the number of warps, and ``group`` the chunks that are polled together.
        registers: the most that the assembler may give a thread, told to it, for left alone it spills a few words to reach an
            occupancy that no sweep wants; None leaves it alone.
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
    per_sm: int = 1
    registers: int | None = 255
    polled: bool = False


@dataclass(frozen=True)
class Entry:
    """A line of the table.

    Attributes:
        form: "polled" (each program keeps a slice in registers, the exchanged data is its own flag), "single" (one program has
            all weights), "split" (each program keeps a slice in shared memory), "streamed" (weights come from L2).
        numbers: "16-bit", "tf32", "exact" (float32 without TF32), "fp64" or "fp64 without tensor cores" products; "any" in
            the interpreter.
        widest: the largest H.
        row: how.
        memory: "save" keeps the gates for the backward, "recompute" forms them again from the states.
        cells: which.
        sweeps: which.
    """

    form: str
    numbers: str
    widest: int
    row: Row
    memory: str = "save"
    cells: tuple[str, ...] = CELLS
    sweeps: tuple[str, ...] = ("forward", "backward")


ONE_PHASE = tuple(name for name, cell in NUMBERS.items() if cell.phases == 1)
NARROW = tuple(name for name in ONE_PHASE if NUMBERS[name].gates < 4)
ANY = 1 << 31
TABLE: tuple[Entry, ...] = (
    Entry("polled", "16-bit", 128, Row(
        16, 8, 64, 0, True, 2, 1,
        "cycles a step by benchmarks.timeline, LSTM H=64 on the H100: 1114 forward against 5570 of one program with all weights; 2 "
        "warps because the exchange and the gates take the time, not the product",
        split=2, group=8, polled=True,
    ), cells=ONE_PHASE),
    Entry("polled", "16-bit", 256, Row(
        16, 8, 64, 0, True, 4, 1,
        "8 samples a program, so that 32 samples of H=512 keep every SM of an H100 at work; all chunks polled together",
        split=4, group=8, polled=True,
    ), cells=ONE_PHASE),
    Entry("polled", "16-bit", 512, Row(
        16, 8, 64, 0, True, 4, 1,
        "as above; a GRU's weights take 96 of the 255 registers a thread (H=512), and 8 warps would compute each unit twice",
        split=4, group=8, polled=True,
    ), cells=NARROW),
    Entry("polled", "16-bit", 512, Row(
        16, 8, 64, 0, True, 4, 1,
        "as above for the LSTM, whose forward operand is small: 128 registers of weights, 16 of operands",
        split=4, group=8, polled=True,
    ), cells=("lstm",), sweeps=("forward",)),
    Entry("polled", "16-bit", 512, Row(
        16, 8, 64, 0, True, 8, 1,
        "8 warps because 4 have too few registers for weights and four gates' operands at once: 80 bytes spilled, or 2596 cycles "
        "instead of 2251 in groups of 4",
        split=8, group=8, polled=True,
    ), cells=("lstm",), sweeps=("backward",)),
    Entry("polled", "16-bit", 1024, Row(
        16, 8, 64, 0, True, 8, 1,
        "the widest whose weights fit in registers: 128 of the LSTM's a thread; groups of 4 because all at once spill 72 bytes",
        split=8, group=4, polled=True,
    ), cells=ONE_PHASE),
    Entry("polled", "16-bit", 256, Row(
        16, 16, 64, 0, True, 4, 1,
        "twice the samples where the lanes of 8 would take more waves",
        split=4, group=8, polled=True,
    ), cells=ONE_PHASE),
    Entry("polled", "16-bit", 512, Row(
        16, 16, 64, 0, True, 8, 1,
        "as above; groups of 2 for the registers",
        split=8, group=2, polled=True,
    ), cells=("lstm",)),
    Entry("polled", "16-bit", 1024, Row(
        16, 16, 64, 0, True, 8, 1,
        "as above; not the LSTM's backward, which spills 56 bytes on sm_80",
        split=8, group=2, polled=True,
    ), cells=NARROW),
    Entry("polled", "16-bit", 1024, Row(
        16, 16, 64, 0, True, 8, 1,
        "as above, the LSTM's forward",
        split=8, group=2, polled=True,
    ), cells=("lstm",), sweeps=("forward",)),
    Entry("single", "16-bit", 64, Row(
        0, 16, 0, 1, True, 4, 1,
        "all weights in one program, nothing is exchanged; not beyond H=64, where one SM's exponentials take longer than an "
        "exchange (floor model, H=128 on the H100: 1.41 us a step against 0.74 split); wgmma on sm_90, no spill on any chip",
    ), cells=("gru_before",)),
    Entry("single", "tf32", 64, Row(
        0, 16, 0, 1, True, 8, 1,
        "as above in float32; 8 warps because with 4 the LSTM's backward needs every register at H=64",
    )),
    Entry("split", "16-bit", 1024, Row(
        16, 16, 64, 0, True, 4, 1,
        "16 units a program, K dealt out to the warps: a quarter of the tensor-core instructions and of the weights' reads of "
        "four warps that share a tile (LSTM forward, H=512: 64 against 256, 40 LDSM against 160); 90 to 166 registers",
        split=4, group=4,
    )),
    Entry("split", "16-bit", ANY, Row(
        16, 16, 64, 0, True, 8, 1,
        "as above for H beyond 1024, which only a GRU's weights on 227 KiB allow: 4 warps spill there",
        split=8, group=2,
    )),
    Entry("split", "16-bit", ANY, Row(
        16, 32, 64, 0, True, 8, 1,
        "twice the samples where the lanes of 16 would take more waves; 8 warps because 4 spill (LSTM forward, H=768)",
        split=8, group=2,
    )),
    Entry("split", "tf32", ANY, Row(
        16, 16, 32, 0, True, 8, 1,
        "float32 weights take twice the room; two operand tiles at a time because four need too much of it at H=768",
        split=8, group=2,
    )),
    Entry("streamed", "16-bit", ANY, Row(
        16, 32, 32, 1, False, 8, 1,
        "the weights do not fit on chip and come from L2; no tile ahead, because Triton would then read the state by cp.async, "
        "which is not a load coherent across the GPU",
        split=8, group=1,
    )),
    Entry("streamed", "16-bit", ANY, Row(
        32, 16, 32, 1, False, 8, 1,
        "twice the units where slices of 16 would be more than run at once: a launch a step costs more than everything else",
        split=8, group=1,
    )),
    Entry("streamed", "tf32", ANY, Row(
        16, 16, 32, 1, False, 8, 1,
        "as above in float32",
        split=8, group=1,
    )),
    Entry("streamed", "tf32", ANY, Row(
        32, 16, 16, 1, False, 8, 1,
        "twice the units, as above; chunks of 16 because 32 spill in the LSTM",
        split=8, group=1,
    )),
    Entry("streamed", "exact", ANY, Row(
        16, 16, 32, 1, False, 8, 1,
        "float32 without TF32: no tensor-core product of this accuracy; serves every H",
    )),
    Entry("streamed", "fp64", ANY, Row(
        16, 16, 16, 1, False, 8, 1,
        "float64 on tensor cores; K dealt out because whole accumulators in every warp spill 572 bytes (LSTM)",
        split=8, group=1,
    )),
    Entry("streamed", "fp64 without tensor cores", ANY, Row(
        16, 16, 16, 1, False, 8, 1,
        "float64 elsewhere; K not dealt out, because Triton deals out elements there and parts spill 1580 bytes (LSTM)",
    )),
)  # fmt: skip
"""In order of preference: the first form that fits; within it lanes that run at once, then the fewest waves, then the order."""

INTERPRETED: tuple[Entry, ...] = (
    Entry("single", "any", 16, Row(0, 16, 0, 1, True, reason="interpreter: fewest operations a step")),
    Entry("polled", "any", 32, Row(
        16, 8, 16, 0, True, reason="interpreter: several programs, parts and groups, as on a GPU", split=2, group=1, polled=True,
    ), cells=ONE_PHASE),
    Entry("split", "any", 48, Row(
        16, 16, 16, 0, True, reason="interpreter: several programs, parts and groups, as on a GPU", split=2, group=1,
    )),
    Entry("streamed", "any", ANY, Row(
        32, 16, 16, 1, False, reason="interpreter: the form that serves any H", split=2, group=1,
    )),
)  # fmt: skip


def kind_of(dtype: torch.dtype, tf32: bool, capability: tuple[int, int] | None) -> str:
    """Which products serve a dtype, as `Entry.numbers` names them."""
    if dtype in (torch.float16, torch.bfloat16):
        return "16-bit"
    if dtype == torch.float64:
        return "fp64" if capability in DOUBLE_TENSOR_CORES else "fp64 without tensor cores"
    return "tf32" if dtype == torch.float32 and tf32 else "exact"


def candidates(
    cell: str, dtype: torch.dtype, H: int, capability: tuple[int, int] | None, tf32: bool, sweep: str | None = None
) -> list[Entry]:
    """The entries that can serve a call of either sweep, or of the one named: tiles filled in that cover H and fit on the chip."""
    room = ANY if capability is None else SHARED_BYTES.get(capability, SMALLEST_SHARED)
    found = []
    for entry in INTERPRETED if capability is None else TABLE:
        if (
            entry.numbers not in ("any", kind_of(dtype, tf32, capability))
            or entry.widest < H
            or cell not in entry.cells
            or (sweep is not None and sweep not in entry.sweeps)
            or (entry.form == "polled" and not polls(capability))
        ):
            continue
        row = _filled(entry, H)
        bytes_ = shared_bytes(entry.form, row, cell, dtype.itemsize)
        if bytes_ <= room:
            if capability is not None:
                together = min(REGISTERS // (32 * row.warps * 256), (room + 1024) // (bytes_ + 1024))
                row = replace(row, per_sm=max(1, together))
                row = _for_sm_100(row) if capability[0] == 10 else row
            found.append(replace(entry, row=row))
    return found


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
) -> Row:
    """The row for a sweep ("forward" or "backward") of `cell`, with the tile sizes that depend on H filled in.

    `capability` is the device's, None in the interpreter; `multiprocessors` is how many SMs it has; `tf32` whether float32
    products may be TF32's.
    """
    fitting = candidates(cell, dtype, H, capability, tf32, sweep)
    for form in ("single", "polled", "split", "streamed"):
        rows = [entry.row for entry in fitting if entry.form == form]
        if (
            form in ("polled", "split") and capability is not None
        ):  # streamed takes more samples a launch where lanes cannot wait anyway
            rows = [row for row in rows if fits(row, H, multiprocessors)]
        if rows:
            return min(rows, key=lambda row: (not fits(row, H, multiprocessors), waves(row, H, B, D, multiprocessors)))
    raise AssertionError(f"the table has no row for {cell}, {dtype}, H={H}")  # streamed serves every H: tested


def polls(capability: tuple[int, int] | None) -> bool:
    """Whether a chip has the polled sweeps' instructions: NVIDIA's from sm_80 on. The interpreter has."""
    return capability is None or (capability >= (8, 0) and torch.version.hip is None)


def padded(H: int) -> int:
    """H rounded up to whole loads of 16 bytes: how wide a row of what is polled is."""
    return -(-H // WHOLE) * WHOLE


def even(row: Row, H: int) -> bool:
    """Whether a filled-in row's chunks cover a row of what is polled and nothing more."""
    return padded(H) == row.split * row.block_k * row.chunks


def form_of(row: Row, H: int) -> str:
    """Where a filled-in row keeps the weights: in one program, split over programs, or in L2; or that it polls."""
    if row.polled:
        return "polled"
    if not row.resident:
        return "streamed"
    return "single" if row.block_u >= H else "split"


def fits(row: Row, H: int, multiprocessors: int) -> bool:
    """Whether the programs of a lane certainly run at the same time, so that they may wait for each other."""
    return _slices(row, H) <= multiprocessors * row.per_sm


def waves(row: Row, H: int, B: int, D: int, multiprocessors: int) -> int:
    """Launches, one after the other, in which all lanes (batch tiles of all directions) have had their turn."""
    together = max(1, multiprocessors * row.per_sm // _slices(row, H))
    return -(-_lanes(row, B, D) // together)


def shared_bytes(form: str, row: Row, cell: str, itemsize: int) -> int:
    """Shared memory that a program takes at most, in either sweep: weights, operands, what changes layout on its way."""
    gates = NUMBERS[cell].gates
    width = row.split * row.block_k
    weights, operand = gates * row.block_u * width * itemsize, width * row.block_b * itemsize
    if form == "polled":  # only the warps' parts meet there
        return gates * row.split * row.block_u * row.block_b * max(itemsize, 4)
    if form == "single":
        return weights + (gates + 1) * row.block_u * row.block_b * max(itemsize, 4)
    if form == "split":
        return weights * row.chunks + operand * min(row.group, gates * row.chunks)
    return (weights + operand) * row.stages


def _filled(entry: Entry, H: int) -> Row:
    """The entry's row for H: whole tiles of a power of two, or the chunk width that covers H with the least to spare."""
    row = entry.row
    if entry.form == "single":
        whole = max(16, 1 << (H - 1).bit_length())
        return replace(row, block_u=whole, block_k=whole)
    if entry.form == "streamed":
        return row
    if row.polled:
        return replace(row, chunks=-(-H // (row.split * row.block_k)))
    narrower = [k for k in (64, 32, 16) if k <= row.block_k]
    block_k = min(narrower, key=lambda k: (-(-H // (row.split * k)) * k, -k))
    return replace(row, block_k=block_k, chunks=-(-H // (row.split * block_k)))


def _for_sm_100(row: Row) -> Row:
    """The assembler fills whatever it is told there with the loads of many tiles before the time loop, and spills 8 to 80 bytes."""
    if row.polled or row.split == 1 or (row.resident and row.chunks == 1):
        return row
    return replace(row, registers=None, group=min(row.group, 3))


def _slices(row: Row, H: int) -> int:
    return -(-H // row.block_u)


def _lanes(row: Row, B: int, D: int) -> int:
    return -(-B // row.block_b) * D
