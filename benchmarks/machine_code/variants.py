"""Predicted cycles a step of the sweeps with options, beside the plain cell: compiled for the H100, no GPU.

    python -m benchmarks.machine_code.variants --json benchmarks/results/variants.json
    python -m benchmarks.machine_code.variants --check 6     # compile a sample anew, and compare with the record

All kernels have lengths, biases, saved gates and gradients of every c_t; bfloat16, B=32.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.machine_code.aot_record import sample
from benchmarks.measuring.records import RESULTS, Record, Row, load
from fusedrnn.kernels.cell import NUMBERS
from fusedrnn.kernels.rows import slices

PATH = RESULTS / "variants.json"
CELLS, WIDTHS, SWEEPS = ("lstm", "gru"), (256, 512), ("forward", "backward")
NORM = "layer_norm"
VARIANTS: dict[str, tuple[bool, tuple[str, str, str]]] = {
    "plain": (False, ("", "", "")),
    "resets": (True, ("", "", "")),
    "zoneout, training": (False, ("random", "random", "")),
    "zoneout, evaluation": (False, ("expected", "expected", "")),
    "recurrent_dropout": (False, ("", "", "step")),
    "recurrent_dropout, variational": (False, ("", "", "sequence")),
    "resets, zoneout, recurrent_dropout": (True, ("random", "random", "step")),
    NORM: (False, ("", "", "")),
}
"""Whether there are resets, and `noise.Modes`, by name; zoneout of c only where there is one. The last has layer normalisation."""
EXCHANGES = {("lstm", "forward"): 2, ("lstm", "backward"): 1, ("gru", "forward"): 1, ("gru", "backward"): 0}
"""Exchanges more with layer normalisation: of sums of W_hh h forward, of sums of c in either sweep (`kernels.norm`)."""
TOLERANCE = 0.1  # of cycles, relative, between releases of Triton


def row_of(cell: str, H: int, sweep: str, variant: str) -> Row:
    """Compile one kernel."""
    from benchmarks.machine_code import aot  # which imports Triton
    from benchmarks.machine_code.expected import Case, passes
    from fusedrnn.kernels.noise import Modes

    case, (resets, (h, c, candidate)) = Case(sweep, cell, "bf16", aot.TIMELINE_ARCH, H), VARIANTS[variant]
    about: Row = {"cell": cell, "H": H, "sweep": sweep, "variant": variant}
    if variant == NORM:  # whose launch row may be another
        from benchmarks.machine_code import aot_norm

        row = aot_norm.record(case)
        assert row is not None
        return about | {name: row[name] for name in ("registers", "spill_bytes", "cycles")}
    noise, together = Modes(h, c if NUMBERS[cell].has_c else "", candidate), slices(case.row, H) > 1
    given = (sweep, cell, "bf16", case.arch, case.tiles, together, H % 16 == 0, True)
    got, cycles = aot.reading(*given, resets=resets, noise=noise)
    assert cycles is not None
    total = round(cycles[0] + cycles[1] * passes(case))
    return about | {"registers": got.registers, "spill_bytes": got.spill_bytes, "cycles": total}


def every() -> Iterator[Row]:
    """Compile all kernels."""
    for cell in CELLS:
        for H in WIDTHS:
            for sweep in SWEEPS:
                for variant in VARIANTS:
                    yield row_of(cell, H, sweep, variant)


def ratios(rows: list[Row]) -> dict[str, list[float]]:
    """For each variant the cycles over those of the plain cell, by cell, width and sweep in the order of `every`."""
    plain = {(r["cell"], r["H"], r["sweep"]): r["cycles"] for r in rows if r["variant"] == "plain"}
    found: dict[str, list[float]] = {name: [] for name in VARIANTS if name != "plain"}
    for row in rows:
        if row["variant"] != "plain":
            found[row["variant"]].append(row["cycles"] / plain[row["cell"], row["H"], row["sweep"]])
    return found


def of_exchanges(rows: list[Row]) -> list[float]:
    """Cycles of the plain cell and of the exchanges that layer normalisation adds, over those of the plain cell."""
    from benchmarks.machine_code.timeline import H100

    each = H100.seen + H100.l2 / 2  # from a store until another SM's poll has it
    plain = [row for row in rows if row["variant"] == "plain"]
    return [1 + EXCHANGES[row["cell"], row["sweep"]] * each / row["cycles"] for row in plain]


def differences(rows: list[Row]) -> Iterator[str]:
    """Compile `rows` anew: a line for each whose spills or cycles are not as recorded."""
    for row in rows:
        new = row_of(row["cell"], row["H"], row["sweep"], row["variant"])
        if new["spill_bytes"] != row["spill_bytes"] or abs(new["cycles"] - row["cycles"]) > TOLERANCE * row["cycles"]:
            yield f"expected {row}, within {TOLERANCE:.0%}, got {new}"


def main(arguments: list[str] | None = None) -> int:
    """Write the record, or compare it; exit status 1 if anything changed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=PATH, help="where the record goes")
    parser.add_argument("--check", type=int, metavar="N", help="compare N rows, and write nothing")
    asked = parser.parse_args(arguments)
    if asked.check is not None:
        lines = list(differences(sample(load(asked.json).rows, asked.check)))
        print(*lines, sep="\n")
        return 1 if lines else 0
    import torch
    import triton

    chip = {"chip": "H100 SXM", "measured": False, "dtype": "bf16", "B": 32}
    Record({**chip, "triton": triton.__version__, "torch": torch.__version__}, list(every())).save(asked.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
