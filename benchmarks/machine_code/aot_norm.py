"""Compile the sweeps with layer normalisation for absent chips: registers, spills, and cycles beside those of the plain sweeps.

    python -m benchmarks.machine_code.aot_norm --json FILE --arch 90 --hidden 256 512

Exit status 1 if a row of the launch table spills. The cycles are those of `benchmarks.machine_code.timeline`, which counts the
loads of sums as if their threads shared no addresses, and takes a program's sums to be published with its state.
"""

import argparse
import itertools
import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.machine_code.aot import reading
from benchmarks.machine_code.expected import DTYPES, MULTIPROCESSORS, Case, passes
from fusedrnn.kernels.options import norm_of
from fusedrnn.kernels.rows import slices
from fusedrnn.kernels.sweeps import tiles_of
from fusedrnn.kernels.table import choose

CELLS = ("gru", "lstm", "rnn_tanh")
BATCHES = (32, 256)


def plain_cycles(case: Case) -> int | None:
    """Cycles of a step without normalisation."""
    together = slices(case.row, case.H) > 1
    _, cycles = reading(case.sweep, case.cell, case.dtype, case.arch, case.tiles, together, case.H % 16 == 0, True)
    return None if cycles is None else round(cycles[0] + cycles[1] * passes(case))


def record(case: Case) -> dict[str, Any] | None:
    """One row, or None if the table has none: the programs of a lane do not fit at once."""
    sweep, tf32 = case.sweep, case.dtype == "tf32"
    chip = (divmod(case.arch, 10), MULTIPROCESSORS[case.arch])
    try:
        row = choose(sweep, case.cell, DTYPES[case.dtype], case.H, case.B, 1, *chip, tf32=tf32, norm=True)
    except RuntimeError:
        return None
    tiles, programs = tiles_of(row, case.H, DTYPES[case.dtype], tf32=tf32), slices(row, case.H)
    about = (sweep, case.cell, case.dtype, case.arch, tiles, programs > 1, case.H % 16 == 0, True)
    got, cycles = reading(*about, norm=norm_of(programs))
    return {
        "sweep": sweep, "cell": case.cell, "dtype": case.dtype, "arch": f"sm_{case.arch}", "H": case.H, "B": case.B,
        "weights": row.weights, "programs": programs, "warps": row.warps, "registers": got.registers,
        "spill_bytes": got.spill_bytes, "cycles": None if cycles is None or cycles[1] else round(cycles[0]),
        "plain_cycles": plain_cycles(case),
    }  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Compile, write the rows, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, help="where the rows go")
    parser.add_argument("--arch", type=int, nargs="+", default=[80, 90, 100, 120], choices=list(MULTIPROCESSORS))
    parser.add_argument("--hidden", type=int, nargs="+", default=[64, 128, 256, 512, 768, 1024, 2048])
    parser.add_argument("--dtype", nargs="+", default=["bf16", "tf32"], choices=list(DTYPES))
    parser.add_argument("--cell", nargs="+", default=list(CELLS))
    asked = parser.parse_args(arguments)
    cases = itertools.product(("forward", "backward"), asked.cell, asked.dtype, asked.arch, asked.hidden, BATCHES)
    rows = [row for about in cases if (row := record(Case(*about)))]
    asked.json.write_text(json.dumps(rows, indent=1) + "\n")
    print(pd.DataFrame(rows).to_string(index=False))
    return 1 if any(row["spill_bytes"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
