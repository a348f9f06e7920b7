"""Compile the dropout kernels for absent chips: registers, spills, and the bytes an element moves.

    python -m benchmarks.machine_code.aot_dropout                  # a table
    python -m benchmarks.machine_code.aot_dropout --json FILE

Exit status 1 if a kernel spills, or if the path of whole blocks moves anything but 16 bytes at a time or more than it must.
"""

import argparse
import itertools
import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import triton.language as tl

from benchmarks.machine_code.compiled import compile_for, read
from fusedrnn.kernels import pointwise
from fusedrnn.kernels.dropout import dropout_flat, dropout_shared, relu_dropout_backward

ARCHS = (80, 86, 90, 100, 120)
SIZES = {"fp64": 8, "fp32": 4, "fp16": 2, "bf16": 2}
WARPS = 4  # triton's default, which the launchers use
KERNELS: dict[str, tuple[Any, dict[str, Any], int, int]] = {
    "dropout": (dropout_flat, {"bias_ptr": None, "BIAS_RELU": False, "ALIGNED": False, "DROP": True}, 1, 0),
    "bias_relu_dropout": (dropout_flat, {"BIAS_RELU": True, "ALIGNED": True, "DROP": True}, 1, 1),
    "gradient of bias_relu_dropout": (relu_dropout_backward, {}, 2, 0),
    "dropout, rows share a mask": (dropout_shared, {"ROWS": pointwise.ROWS}, 1, 0),
}
"""Kernel, its constants, tensors of the input's size that it must read, and smaller ones, which stay in the cache."""


def record(name: str, dtype: str, arch: int) -> dict[str, Any]:
    """One row: what the kernel `name` costs, and its faults."""
    kernel, constants, reads, cached = KERNELS[name]
    constants = {"WIDE": tl.float64 if dtype == "fp64" else tl.float32, "BLOCK": pointwise.BLOCK} | constants
    pointers = {argument for argument in kernel.arg_names if argument.endswith("_ptr")}
    types = {argument: f"*{dtype}" if argument in pointers else "i32" for argument in kernel.arg_names}
    types |= {"seed_ptr": "*i64", "scale": "i64"}
    got = read(
        compile_for(
            arch, kernel, types, constants, pointers | {"width"}, {"num_warps": WARPS, "maxnreg": pointwise.REGISTERS}
        )
    )
    size, lanes = SIZES[dtype], 32 * WARPS
    wide = {
        access: sum(count for found, count in got.accesses.items() if found.startswith(access) and ".128" in found)
        for access in ("LDG", "STG")
    }
    per_element = {access: 16 * lanes * count / pointwise.BLOCK for access, count in wide.items()}
    row: dict[str, Any] = {
        "kernel": name, "dtype": dtype, "arch": f"sm_{arch}", "registers": got.registers,
        "spill_bytes": got.spill_bytes, "shared_bytes": got.shared_bytes,
        "read_bytes_per_element": per_element["LDG"], "written_bytes_per_element": per_element["STG"],
        "least_bytes_read": reads * size, "bytes_read_from_cache": cached * size, "accesses": got.accesses,
    }  # fmt: skip
    faults = [f"expected no spills, got {got.spill_bytes} bytes"] if got.spill_bytes else []
    # the path of a ragged tail moves elements one by one, but reads the bias, which has no tail, like the other path
    for access, least in (("LDG", (reads + 2 * cached) * size), ("STG", size)):
        if per_element[access] != least:
            faults.append(f"expected {least} bytes an element by 128-bit {access}, got {per_element[access]}")
    return row | {"faults": faults}


def main(arguments: list[str] | None = None) -> int:
    """Compile, print the table and the faults, write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where the rows go")
    parser.add_argument("--arch", type=int, nargs="+", default=list(ARCHS), choices=ARCHS)
    parser.add_argument("--dtype", nargs="+", default=list(SIZES), choices=SIZES)
    asked = parser.parse_args(arguments)
    found = [record(*about) for about in itertools.product(KERNELS, asked.dtype, asked.arch)]
    shown = pd.DataFrame(found).drop(columns=["accesses", "faults"])
    print(shown.to_string(index=False))
    for row in found:
        for fault in row["faults"]:
            print(f"{row['kernel']} {row['dtype']} {row['arch']}: {fault}", file=sys.stderr)
    if asked.json is not None:
        asked.json.write_text(json.dumps(found, indent=1) + "\n")
    return 1 if any(row["faults"] for row in found) else 0


if __name__ == "__main__":
    sys.exit(main())
