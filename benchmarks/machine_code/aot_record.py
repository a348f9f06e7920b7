"""The committed machine-code record: compact, and compared with fresh compiles.

    python -m benchmarks.machine_code.aot --json out/aot.json && python -m benchmarks.machine_code.aot_record out/aot.json
    python -m benchmarks.machine_code.aot_record --check 12     # compile a sample anew and report what changed

One array a row under one list of column names, one line each, so that a diff shows a change of registers, spills, shared memory or
cycles of a step by kernel.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.measuring.records import RESULTS, RecordError, Row, write

PATH = RESULTS / "aot.json"
IDENTITY = ("kernel", "cell", "dtype", "arch", "H", "B")
COMPARED = ("weights", "tiles", "group", "warps", "registers", "spill_bytes", "shared_bytes", "cycles")
TOLERANCES = {"cycles": 0.1}  # relative; every other column is compared exactly
DROPPED = ("options", "faults")


def pack(environment: dict[str, Any], rows: list[Row]) -> dict[str, Any]:
    """The compact form. Raises RecordError if a row has faults, or the rows do not have the same columns."""
    columns = [name for name in rows[0] if name not in DROPPED]
    for row in rows:
        if row["faults"]:
            raise RecordError(f"{name_of(row)}: expected a row without faults, got {row['faults'][0]}")
        if [name for name in row if name not in DROPPED] != columns:
            raise RecordError(f"{name_of(row)}: expected the columns {columns}, got {list(row)}")
    return {"environment": environment, "columns": columns, "rows": [[row[name] for name in columns] for row in rows]}


def name_of(row: Row) -> str:
    """A row in words."""
    return " ".join(f"{name}={row[name]}" for name in IDENTITY)


def save(path: Path, packed: dict[str, Any]) -> None:
    """One line a row."""
    lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in packed["rows"])
    head = json.dumps({"environment": packed["environment"], "columns": packed["columns"]})[:-1]
    write(path, f'{head},\n"rows":[\n{lines}\n]}}\n')


def load(path: Path = PATH) -> tuple[dict[str, Any], list[Row]]:
    """The environment and the rows. Raises RecordError if there is no such record."""
    try:
        packed = json.loads(path.read_text(encoding="utf-8"))
        return packed["environment"], [dict(zip(packed["columns"], row, strict=True)) for row in packed["rows"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecordError(f"{path}: expected a machine-code record, got {error!r}") from None


def sample(rows: list[Row], count: int) -> list[Row]:
    """`count` rows spread evenly over the record, so that chips, dtypes, cells and both sweeps are among them."""
    return [rows[(2 * k + 1) * len(rows) // (2 * count)] for k in range(count)] if count < len(rows) else rows


def differences(rows: list[Row]) -> Iterator[str]:
    """Compile each row's case anew: a line for every column of `COMPARED` that is not as recorded."""
    from benchmarks.machine_code import aot

    for row in rows:
        sweep, arch = row["kernel"].removesuffix("_sweep"), int(row["arch"].removeprefix("sm_"))
        got = aot.record(aot.Case(sweep, row["cell"], row["dtype"], arch, row["H"], row["B"]))
        for name in COMPARED:
            tolerance, old, new = TOLERANCES.get(name), row[name], got[name]
            exact = tolerance is None or old is None or new is None
            if new != old if exact else abs(new - old) > tolerance * old:
                within = "" if tolerance is None else f", within {tolerance:.0%}"
                yield f"{name_of(row)}: expected {name} {old} as recorded{within}, got {new}"


def main(arguments: list[str] | None = None) -> int:
    """Compact a record, or compare the committed one; exit status 1 if anything changed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path, nargs="?", help="what benchmarks.machine_code.aot wrote")
    parser.add_argument("--check", type=int, metavar="COUNT", help="rows to compile and compare; 0: all")
    parser.add_argument("--record", type=Path, default=PATH)
    asked = parser.parse_args(arguments)
    try:
        if asked.rows is not None:
            written = json.loads(asked.rows.read_text(encoding="utf-8"))
            save(asked.record, pack(written["versions"], written["rows"]))
            return 0
        if asked.check is None:
            parser.error("expected a file of rows or --check COUNT, got neither")
        environment, rows = load(asked.record)
    except RecordError as error:
        parser.error(str(error))
    import triton

    made = environment["triton"]
    if triton.__version__ != made:
        parser.error(f"expected Triton {made}, with which the record was made, got {triton.__version__}")
    chosen = sample(rows, asked.check) if asked.check else rows
    found = list(differences(chosen))
    print(*found, f"{len(chosen)} of {len(rows)} rows compiled anew, {len(found)} differences", sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
