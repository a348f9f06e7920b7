"""Compile kernels on all cores, into Triton's cache, for a GPU that this program never touches.

    python -m benchmarks.gpu.compiling --capability 9 0 --multiprocessors 132 --phases gate steps

A launch with the same arguments then finds its kernel in the cache: what is compiled is what `absent` makes the launchers ask
for. Kernels that the run needs first are compiled first.
"""

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu import needs
from benchmarks.gpu.children import tell
from benchmarks.gpu.kernels import Kernel
from benchmarks.machine_code import absent
from benchmarks.machine_code.absent import Chip
from benchmarks.measuring.environment import environment
from benchmarks.measuring.records import Record, Row

LIMIT_S = 20.0  # for the next kernel, whichever it is; most take about a second


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0))


def compiled(kernel: Kernel) -> Row:
    """Compile one, in a process that has `absent.install`ed its chip: seconds, and how many kernels were new and were cached."""
    found: list[bool] = []
    absent.listen(lambda source, cached: found.append(cached))
    begun, error = time.monotonic(), {}
    try:
        kernel.compile()
    except Exception as failure:  # the rest is still worth compiling
        error = {"error": f"{type(failure).__name__}: {failure}"}
    counts = {"new": found.count(False), "cached": found.count(True)}
    seconds = round(time.monotonic() - begun, 3)
    return {"key": f"compile: {kernel}", "peer": "compiler", **error, "seconds": seconds, **counts}


def answers(pool: Any, wanted: list[Kernel]) -> Iterator[Row]:
    """Kernels as they are compiled; the pool does not tell of a process that dies, so its kernel is missed at the end."""
    coming = pool.imap_unordered(compiled, wanted)
    for count in range(len(wanted)):
        try:
            yield coming.next(LIMIT_S)
        except multiprocessing.TimeoutError:
            error = f"expected all kernels, got none for {LIMIT_S:.0f} s and {count} of {len(wanted)}"
            nothing = {"seconds": 0.0, "new": 0, "cached": 0}
            yield {"key": "compile: the rest", "peer": "compiler", "error": error, **nothing}
            return


def main(arguments: list[str] | None = None) -> int:
    """Compile what the phases need; exit status 1 if a kernel did not compile."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--capability", type=int, nargs=2, default=(9, 0))
    parser.add_argument("--multiprocessors", type=int, default=132)
    parser.add_argument("--phases", nargs="+", default=list(needs.PHASES), choices=list(needs.PHASES))
    parser.add_argument("--first", type=int, help="no more than so many kernels a phase")
    parser.add_argument("--processes", type=int, default=cores())
    parser.add_argument("--json", type=Path, help="where the record of what was compiled goes")
    asked = parser.parse_args(arguments)
    if os.environ.get("TRITON_INTERPRET") == "1":
        parser.error("expected TRITON_INTERPRET not to be set, got 1: nothing is compiled in the interpreter")
    chip = Chip(tuple(asked.capability), asked.multiprocessors)
    absent.install(chip)
    wanted = needs.kernels(asked.phases, chip, first=asked.first)
    tell({"wanted": len(wanted), "processes": asked.processes, "launchers": absent.builds_launchers()})
    rows: list[Row] = []
    context: Any = multiprocessing.get_context("fork")  # nothing here has threads or a device, and the imports are done
    with context.Pool(min(asked.processes, len(wanted))) as pool:
        for row in answers(pool, wanted):
            rows.append(row)
            tell(row)
            if "error" in row:
                print(json.dumps(row), flush=True)
    new, cached = sum(row["new"] for row in rows), sum(row["cached"] for row in rows)
    errors = sum("error" in row for row in rows)
    if asked.json:
        Record({**environment(torch.device("cpu")), "processes": asked.processes, **vars(chip)}, rows).save(asked.json)
    print(f"{len(wanted)} launches: {new} kernels compiled, {cached} found in the cache, {errors} errors")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
