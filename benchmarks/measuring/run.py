"""Measure suites and write a record, after every case.

python -m benchmarks.measuring.run --suite cpu --device cpu --json benchmarks/results/cpu.json
"""

import argparse
import os
from pathlib import Path

import torch

from benchmarks.measuring.environment import environment
from benchmarks.measuring.measure import Options, measure
from benchmarks.measuring.records import Record, Row
from benchmarks.measuring.suites import SUITES, suite

OTHERS = (
    "copy_share", "saved_bytes", "peak_bytes", "kernels", "host_s", "characters_per_s", "cache", "setup_s", "first_s", "second_s",
    "cycles", "hz", "path_ran", "record_ratio", "agrees", "lookup_s",
)  # fmt: skip
"""Columns that are printed as they are."""


def say(row: Row) -> str:
    """A row in one line."""
    if "error" in row:
        what = " ".join(row[name] for name in ("sweep", "verdict") if name in row) or "error"
        return f"  {row['peer']:20} {what}: {row['error']}"
    parts = []
    if "verdict" in row:
        parts.append(verdict(row))
    if "us_a_step" in row:
        parts.append(f"{row['us_a_step']:.3f} us a step")
    if "predicted_us" in row:
        parts.append(f"predicted {row['predicted_us']:.3f}")
    if "median_s" in row:
        parts.append(f"{row['median_s'] * 1e3:10.3f} ms [{row['p20_s'] * 1e3:.3f}, {row['p80_s'] * 1e3:.3f}]")
    if "ratio" in row:
        base = {"variant": "table", "option": "plain"}.get(row["peer"], "torch.nn")
        spread = f" [{row['ratio_p20']:.3f}, {row['ratio_p80']:.3f}]" if "ratio_p20" in row else ""
        parts.append(f"{base} / this {row['ratio']:.3f}{spread}")
    if "reason" in row:
        parts.append(f"{row['backend']}: {row['reason']}")
    if row.get("over_floor"):
        parts.append(f"over the floor {row['over_floor']:.1f}")
    for name in OTHERS:
        if name in row:
            value = row[name]
            parts.append(f"{name} {value:.6g}" if isinstance(value, float | int) else f"{name} {value}")
    return f"  {row['peer']:20} " + ", ".join(parts)


def verdict(row: Row) -> str:
    """A verdict, the tensor that decided it, how its error compares with the largest one allowed, and where it is wrong."""
    if "tensor" not in row:
        return str(row["verdict"])
    of = " ".join(row[name] for name in ("sweep", "verdict") if name in row)
    told = f"{of}: {row['tensor']} at {float(row['share']):.3g} times the error allowed"
    if "worst_element" in row:
        told += f"; worst at {row['worst_element']}: expected {float(row['expected']):.4g}, got {float(row['got']):.4g}"
    return told if row.get("first_step") is None else f"{told}; first wrong step {row['first_step']}"


def main(arguments: list[str] | None = None) -> int:
    """Measure; exit status 1 if any peer of any case could not be measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", required=True, nargs="+", choices=list(SUITES))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=["cpu", "cuda"])
    parser.add_argument("--json", type=Path, required=True, help="where the record goes")
    parser.add_argument("--rounds", type=int, help="default: 61 on a CPU, 15 on a GPU")
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="of torch on the CPU")
    parser.add_argument("--compiled", action="store_true", help="also the reference under torch.compile")
    parser.add_argument("--tiny", action="store_true", help="a few cases of a few units, to try the program itself")
    asked = parser.parse_args(arguments)
    if asked.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: expected a CUDA device, got none")
    asked.rounds = asked.rounds if asked.rounds is not None else 61 if asked.device == "cpu" else 15
    if asked.rounds < 1 or asked.warmup < 0:
        parser.error(f"--rounds, --warmup: expected at least 1 and 0, got {asked.rounds} and {asked.warmup}")
    if asked.device == "cpu":
        torch.set_num_threads(asked.threads)
    device = torch.device(asked.device)
    options = Options(asked.rounds, asked.warmup, compiled=asked.compiled)
    record = Record({**environment(device), "interpreted": os.environ.get("TRITON_INTERPRET") == "1"})
    for case in (case for name in asked.suite for case in suite(name, tiny=asked.tiny)):
        print(case.key, flush=True)
        rows = measure(case, device, options)
        for row in rows:
            print(say(row), flush=True)
        record.rows += rows
        record.save(asked.json)
    return 1 if any("error" in row for row in record.rows) else 0


if __name__ == "__main__":
    raise SystemExit(main())
