"""Compile every row that the launch table picks, for chips that are not there, and check the machine code.

    python -m benchmarks.machine_code.aot --json benchmarks/results/aot.json

Exit status 1 if any row breaks a rule; the rules are in `faults`.
"""

import argparse
import itertools
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import triton
import triton.language as tl

from benchmarks.machine_code import sass
from benchmarks.machine_code.compiled import Reading, compile_for, read
from benchmarks.machine_code.timeline import cycles as cycles_of
from fusedrnn.chips import CHIPS, SHARED_BYTES
from fusedrnn.kernels.backward import backward_sweep
from fusedrnn.kernels.cell import NUMBERS
from fusedrnn.kernels.cells import CELLS
from fusedrnn.kernels.forward import forward_sweep
from fusedrnn.kernels.launch import RUNTIME
from fusedrnn.kernels.sweeps import DIGITS, LAUNCH, tiles_of
from fusedrnn.kernels.table import Row, choose, shared_bytes, slices
from fusedrnn.kernels.tiles import Tiles

MULTIPROCESSORS = {arch: CHIPS[divmod(arch, 10)].multiprocessors for arch in (80, 86, 90, 100, 120)}
"""Of one card of each kind: A100, RTX 3090, H100 SXM, B200, RTX 5090."""
RECORDED = ("gru", "gru_before", "lstm")  # cells of the modules, whose rows are in the committed record
TIMELINE_ARCH = 90  # the chip whose latencies `benchmarks.machine_code.timeline` has
WIDTHS = (64, 128, 256, 512, 768, 1024, 2048)
BATCHES = (32, 256)  # one for which the lanes of small batch tiles fit in one wave, and one for which they do not
DTYPES = {
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "tf32": torch.float32,
    "fp32": torch.float32,
    "fp64": torch.float64,
}
"""tf32 and fp32 are float32 with and without torch's switch for TF32."""
KERNELS = {"forward": forward_sweep, "backward": backward_sweep}
INSTRUCTION_BITS = 256
"""Of a row of 16 units in a tensor-core instruction: 16 columns of K of 16 bits, 8 of TF32; it has 8 samples."""
WIDE = {"kept_ptr", "dh_ptr", "dc_ptr"}
WORDS = {"lengths_ptr", "error_ptr"}


@dataclass(frozen=True)
class Case:
    """One call of the table: samples, units and chip decide the row."""

    sweep: str
    cell: str
    dtype: str
    arch: int
    H: int
    B: int = 32

    @property
    def row(self) -> Row:
        """The table's answer."""
        capability = divmod(self.arch, 10)
        return choose(
            self.sweep, self.cell, DTYPES[self.dtype], self.H, self.B, 1, capability, MULTIPROCESSORS[self.arch],
            tf32=self.dtype == "tf32",
        )  # fmt: skip

    @property
    def tiles(self) -> Tiles:
        """What the kernel knows of the row."""
        return tiles_of(self.row, self.H, DTYPES[self.dtype], tf32=self.dtype == "tf32")


Cycles = tuple[float, float]  # of a step without its loops over streamed weights, and of one pass of those


@cache
def reading(
    sweep: str,
    cell: str,
    dtype: str,
    arch: int,
    tiles: Tiles,
    together: bool,
    aligned: bool,
    full: bool,
    drop: str = "",
) -> tuple[Reading, Cycles | None]:
    """Compile one kernel: its reading, and `step_cycles`.

    ``together``: its programs wait for each other; ``aligned``: H is a multiple of 16. ``full``: with lengths, bias, saved gates
    and gradients of every c_t; else with none of them. ``drop`` as the kernels have it: nothing, "each" or "shared".
    """
    kernel, kind = KERNELS[sweep], CELLS[cell]
    io = {"bf16": "*bf16", "fp16": "*fp16", "fp64": "*fp64"}.get(dtype, "*fp32")
    pointers = [name for name in kernel.arg_names if name.endswith("_ptr")]
    wide = "*fp64" if dtype == "fp64" else "*fp32"
    types = {name: wide if name in WIDE else "*i32" if name in WORDS else io for name in pointers}
    types |= {"seed_ptr": "*i64", **dict.fromkeys(("H", "W", *RUNTIME), "i32"), "scale": "i64"}
    types = {name: type_ for name, type_ in types.items() if name in kernel.arg_names}
    constants: dict[str, Any] = {
        "CELL": kind, "HAS_LENGTHS": full, "DIGITS": DIGITS[DTYPES[dtype]], "DROP": drop, "TILES": tiles,
        "ACC": tl.float64 if dtype == "fp64" else tl.float32,
    }  # fmt: skip
    absent = {} if full else {"lengths_ptr": None, "b_ptr": None, "dcells_ptr": None, "gates_ptr": None}
    absent |= {} if kind.has_c else {"cells_ptr": None, "c0_ptr": None, "dcells_ptr": None, "dc_ptr": None}
    if sweep == "forward":
        constants |= {"HAS_BIAS": full, "SAVE": full}
        absent |= {} if kind.phases > 1 else {"late_ptr": None}
        absent |= {} if kind.phases > 1 or kind.has_c else {"kept_ptr": None}
    else:
        constants |= {"HAS_DCELLS": full and kind.has_c}
        absent.pop("gates_ptr", None)
        absent |= {} if kind.reads_h else {"h0_ptr": None, "out_ptr": None}
    absent |= {} if drop else {"seed_ptr": None, "dropped_ptr": None, "threshold": None, "scale": None}
    constants |= dict.fromkeys(name for name in absent if name in kernel.arg_names)
    multiples = {*pointers, *(["H", "W"] if aligned else [])}
    options = LAUNCH | {"num_warps": tiles.warps, "launch_cooperative_grid": together}
    compiled = compile_for(arch, kernel, types, constants, multiples, options)
    return read(compiled), step_cycles(compiled.asm["cubin"], arch, tiles.warps)


def step_cycles(cubin: bytes, arch: int, warps: int) -> Cycles | None:
    """Cycles of a step of the time loop, by `timeline`; None on chips other than the H100, whose latencies it has.

    Where weights are streamed, a loop inside the time loop goes through them: two and three passes are played, and every pass is
    taken to cost the difference. The loop of a cell of two phases runs once for each and holds both as branches: played one after
    the other they are a step.
    """
    if arch != TIMELINE_ARCH:
        return None
    code = sass.instructions(cubin)
    loops = sass.products_inside(code)
    if not loops:
        return cycles_of(sass.time_loop(code), warps)[0], 0.0
    two, three = (cycles_of(sass.time_loop(code, times), warps)[0] for times in (2, 3))
    a_pass = (three - two) / loops
    return two - 2 * loops * a_pass, a_pass


def passes(case: Case) -> int:
    """How often a step goes through the loop over streamed weights: for every chunk of the operand; 0 where there is none."""
    tiles, cell = case.tiles, NUMBERS[case.cell]
    if tiles.weights != "streamed":
        return 0
    return -(-case.H // (tiles.parts * tiles.depth)) * (cell.phases if case.sweep == "forward" else cell.gates)


def products_a_warp(case: Case) -> int | None:
    """Tensor-core instructions that each warp needs for its part of a step (of a chunk, if streamed), or None without such."""
    tiles = case.tiles
    if not tiles.tensor:
        return None
    rows = tiles.units // 16 * tiles.parts // tiles.warps
    instructions = rows * (tiles.samples // 8) * (tiles.depth * tiles.bits // INSTRUCTION_BITS)
    cell = NUMBERS[case.cell]
    if tiles.weights != "streamed":
        return cell.gates * instructions * tiles.chunks
    return (cell.gates if case.sweep == "forward" else cell.phases) * instructions


def exchanges(case: Case) -> tuple[int, int]:
    """Loads of 16 bytes that a thread polls with in the code of a step (of a chunk, if streamed), and stores it publishes with."""
    tiles, cell = case.tiles, NUMBERS[case.cell]
    if tiles.alone:
        return 0, 0
    forward, streamed = case.sweep == "forward", tiles.weights == "streamed"
    operands = cell.phases if forward or streamed else cell.gates
    loads = operands * (1 if streamed else tiles.chunks) * tiles.polled * tiles.bits // 128
    published = cell.phases if forward else cell.saved - cell.exchanged_from
    return loads, published * max(1, tiles.each * tiles.bits // 128)


def record(case: Case, full: bool = True, drop: str = "") -> dict[str, Any]:
    """The row of results of one case, its faults included."""
    row, sweep, capability = case.row, case.sweep, divmod(case.arch, 10)
    together = slices(row, case.H) > 1
    got, cycles = reading(sweep, case.cell, case.dtype, case.arch, case.tiles, together, case.H % 16 == 0, full, drop)
    inside = [load for load in got.loads if load.depth]
    polled, published = exchanges(case)
    result: dict[str, Any] = {
        "kernel": f"{sweep}_sweep", "cell": case.cell, "weights": row.weights, "dtype": case.dtype,
        "arch": f"sm_{case.arch}", "H": case.H, "B": case.B, "tiles": [row.units, row.samples, row.depth, row.chunks],
        "group": row.group, "warps": row.warps,
        "options": "all" if full else "none", **({"drop": drop} if drop else {}),
        "registers": got.registers, "spill_bytes": got.spill_bytes,
        "shared_bytes": got.shared_bytes, "shared_limit": SHARED_BYTES[capability],
        "shared_by_table": shared_bytes(row, case.cell, DTYPES[case.dtype].itemsize),
        "tensor_core": got.tensor_core, "tensor_core_needed": products_a_warp(case),
        "loop_weight_loads": sum(load.argument in ("w_ptr", "carried") for load in inside),
        "exchange_load": got.strong_loads, "exchange_load_needed": polled,
        "exchange_store": got.strong_stores, "exchange_store_needed": published,
        "counters": sorted(set(got.counters)),
        "cycles": None if cycles is None else round(cycles[0] + cycles[1] * passes(case)),
    }  # fmt: skip
    result["faults"] = faults(result)
    return result


def faults(result: dict[str, Any]) -> list[str]:
    """The rules that a row breaks; each says what was expected and what was got."""
    spilled, shared, by_table = result["spill_bytes"], result["shared_bytes"], result["shared_by_table"]
    products, needed = sum(result["tensor_core"].values()), result["tensor_core_needed"] or 0
    streamed, loaded = result["weights"] == "streamed", result["loop_weight_loads"]
    loads, polled = result["exchange_load"], result["exchange_load_needed"]
    stores, published = result["exchange_store"], result["exchange_store_needed"]
    limit = result["shared_limit"]
    rules = (
        (not spilled, f"expected no spills, got {spilled} bytes"),
        (shared <= limit, f"expected at most {limit} bytes of shared memory, got {shared}"),
        (shared <= by_table, f"expected at most the table's {by_table} bytes, got {shared}"),
        (products == needed, f"expected {needed} tensor-core instructions a warp, got {products}"),
        (streamed or not loaded, f"expected weights to stay on chip, got {loaded} loads of them in the loop"),
        (
            loaded or not streamed,
            "expected streamed weights to be loaded in the loop, got none: the count cannot be trusted",
        ),
        (
            loads == ({"LDG.E.128.STRONG.GPU": polled} if polled else {}),
            f"expected {polled} loads of 16 bytes a thread, coherent across the GPU, got {loads}",
        ),
        (
            sum(stores.values()) == published,
            f"expected {published} stores a step, coherent across the GPU, got {stores}",
        ),
        (not result["counters"], f"expected no counters, got {result['counters']}"),
    )
    return [message for holds, message in rules if not holds]


def matrix(archs: list[int], widths: list[int], dtypes: list[str], cells: list[str]) -> Iterator[Case]:
    """Every case asked for whose row differs from that of a smaller batch; cases that share a kernel are compiled once."""
    for arch, dtype, cell, sweep, H in itertools.product(archs, dtypes, cells, KERNELS, widths):
        seen = set()
        for B in BATCHES:
            case = Case(sweep, cell, dtype, arch, H, B)
            if case.row not in seen:
                seen.add(case.row)
                yield case


def table(results: list[dict[str, Any]]) -> str:
    """Registers and place of the weights by H, a line a kernel, cell, dtype, chip and B; a "!" where a rule is broken."""
    rows = pd.DataFrame(results)
    rows["shown"] = [f"{r['registers']} {r['weights'][:2]}{'!' if r['faults'] else ''}" for r in results]
    about = ["kernel", "cell", "dtype", "arch", "B"]
    wide = rows.pivot_table(index=about, columns="H", values="shown", aggfunc="last", fill_value="", sort=False)
    return str(wide.to_string())


def main(arguments: list[str] | None = None) -> int:
    """Run the matrix, write it, print the table and the faults."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True, help="where the rows go")
    parser.add_argument("--arch", type=int, nargs="+", default=list(MULTIPROCESSORS), choices=list(MULTIPROCESSORS))
    parser.add_argument("--hidden", type=int, nargs="+", default=list(WIDTHS))
    parser.add_argument("--dtype", nargs="+", default=list(DTYPES), choices=list(DTYPES))
    parser.add_argument("--cell", nargs="+", default=list(RECORDED), choices=list(CELLS))
    parser.add_argument("--plain", action="store_true", help="without lengths, bias and saved gates")
    parser.add_argument("--drop", default="", choices=["", "each", "shared"], help="with dropout of the output")
    asked = parser.parse_args(arguments)
    started = time.monotonic()
    results = []
    for case in matrix(asked.arch, asked.hidden, asked.dtype, asked.cell):
        results.append(record(case, full=not asked.plain, drop=asked.drop))
        for fault in results[-1]["faults"]:
            print(f"{case}: {fault}", file=sys.stderr, flush=True)
    versions = {"triton": triton.__version__, "torch": torch.__version__}
    asked.json.write_text(json.dumps({"versions": versions, "rows": results}, indent=1) + "\n")
    broken = sum(bool(r["faults"]) for r in results)
    print(table(results))
    kernels = reading.cache_info().misses
    print(f"{len(results)} rows, {kernels} kernels, {broken} broken, {time.monotonic() - started:.0f} s")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
