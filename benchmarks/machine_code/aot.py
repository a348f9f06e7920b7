"""Compile every row that the launch table picks, for absent chips, and check the machine code.

    python -m benchmarks.machine_code.aot --json benchmarks/results/aot.json

Exit status 1 if any row breaks a rule of `expected.faults`.
"""

import argparse
import itertools
import json
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import triton
import triton.language as tl

from benchmarks.machine_code import sass
from benchmarks.machine_code.compiled import Reading, compile_for, read
from benchmarks.machine_code.expected import DTYPES, MULTIPROCESSORS, Case, exchanges, faults, passes, products_a_warp
from benchmarks.machine_code.timeline import cycles as cycles_of
from fusedrnn.backends.chips import SHARED_BYTES
from fusedrnn.kernels.backward import backward_sweep
from fusedrnn.kernels.cells import CELLS
from fusedrnn.kernels.forward import forward_sweep
from fusedrnn.kernels.launch import RUNTIME
from fusedrnn.kernels.noise import Modes
from fusedrnn.kernels.rows import shared_bytes, slices
from fusedrnn.kernels.sweeps import DIGITS, LAUNCH
from fusedrnn.kernels.tiles import Tiles

RECORDED = ("gru", "gru_before", "lstm")  # cells of the modules, whose rows are in the committed record
TIMELINE_ARCH = 90  # the chip whose latencies `benchmarks.machine_code.timeline` has
WIDTHS = (64, 128, 256, 512, 768, 1024, 2048)
BATCHES = (32, 256)  # one for which the lanes of small batch tiles fit in one wave, and one for which they do not
NO_NOISE = Modes()
KERNELS = {"forward": forward_sweep, "backward": backward_sweep}
OF_C = ("gain_c_ptr", "bias_c_ptr", "plain_c_ptr", "scale_c_ptr", "dgain_c_ptr", "dbias_c_ptr")
WIDE = {
    "sums_ptr",
    "scale_ptr",
    "scale_c_ptr",
    "dgain_c_ptr",
    "dbias_c_ptr",
    "kept_ptr",
    "dh_ptr",
    "dc_ptr",
    "dh_more_ptr",
    "dc_more_ptr",
}
OTHERS = {"lengths_ptr": "*i32", "error_ptr": "*i32", "anew_ptr": "*i8", "seed_ptr": "*i64", "noise_ptr": "*i64"}


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
    resets: bool = False,
    noise: Modes = NO_NOISE,
    norm: int = 0,
) -> tuple[Reading, Cycles | None]:
    """Compile one kernel: its reading, and `step_cycles`.

    ``together``: its programs wait for each other; ``aligned``: H is a multiple of 16. ``full``: with lengths, bias, saved gates
    and gradients of every c_t; else with none of them. ``drop``, ``noise`` and ``norm`` as the kernels have them.
    """
    kernel, kind = KERNELS[sweep], CELLS[cell]
    io = {"bf16": "*bf16", "fp16": "*fp16", "fp64": "*fp64"}.get(dtype, "*fp32")
    pointers = [name for name in kernel.arg_names if name.endswith("_ptr")]
    wide = "*fp64" if dtype == "fp64" else "*fp32"
    types = {name: wide if name in WIDE else OTHERS.get(name, io) for name in pointers}
    types |= {**dict.fromkeys(("H", "W", *RUNTIME), "i32"), "scale": "i64", "candidate_scale": "i64"}
    types |= {f"zone_{state}": "i64" for state in ("h", "c") if getattr(noise, state) == "expected"}
    types = {name: type_ for name, type_ in types.items() if name in kernel.arg_names}
    constants: dict[str, Any] = {
        "CELL": kind, "HAS_LENGTHS": full, "DIGITS": DIGITS[DTYPES[dtype]], "DROP": drop, "TILES": tiles,
        "RESETS": resets, "NOISE": noise, "NORM": norm, "HEADS": 1,
        "ACC": tl.float64 if dtype == "fp64" else tl.float32,
    }  # fmt: skip
    absent = {} if full else {"lengths_ptr": None, "b_ptr": None, "dcells_ptr": None, "gates_ptr": None}
    absent |= {} if kind.has_c else dict.fromkeys(("cells_ptr", "c0_ptr", "dcells_ptr", "dc_ptr", "dc_more_ptr"))
    if sweep == "forward":
        constants |= {"HAS_BIAS": full, "SAVE": full}
        absent |= {} if kind.phases > 1 else {"late_ptr": None}
        absent |= {} if resets else {"c0_ptr": None}
        absent |= {} if kind.phases > 1 or kind.has_c else {"kept_ptr": None}
    else:
        constants |= {"HAS_DCELLS": full and kind.has_c}
        absent.pop("gates_ptr", None)
        absent |= {} if kind.reads_h or resets else {"h0_ptr": None}
        absent |= {} if kind.reads_h else {"out_ptr": None}
    absent |= {} if drop else {"seed_ptr": None, "dropped_ptr": None, "threshold": None, "scale": None}
    absent |= {} if resets else dict.fromkeys(("anew_ptr", "dh_more_ptr", "dc_more_ptr"))
    absent |= {} if norm else dict.fromkeys(("gain_ptr", "weighted_ptr", "scale_ptr", "v_ptr", *OF_C))
    absent |= {} if kind.has_c else dict.fromkeys(OF_C)
    absent |= {} if norm > 1 else {"sums_ptr": None}
    absent |= {} if any(noise) else {"noise_ptr": None}
    absent |= {f"zone_{state}": None for state in ("h", "c") if not getattr(noise, state)}
    absent |= {} if noise.candidate else {"candidate_threshold": None, "candidate_scale": None}
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
