"""Our modules beside torch.nn's on a CPU, in interleaved pairs: a table, and records in JSON.

    python -m benchmarks.measuring.cpu_pairs --out FILE [--threads 1 2] [--seconds 1.5]

A row is one shape. Each pair times one call of torch.nn's module and one of ours on `backend="auto"`, in alternating order; the
row's ratio is the median over the pairs of theirs / ours: above 1, ours is faster. A cell is called in a loop of T steps. On one
thread the clock is the thread's CPU time, which other processes hardly disturb; on several it is wall time.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterable
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.measuring.records import write
from fusedrnn import FusedGRU, FusedGRUCell, FusedLSTM, FusedLSTMCell

PAIRS = {
    "gru": (nn.GRU, FusedGRU), "lstm": (nn.LSTM, FusedLSTM), "gru cell": (nn.GRUCell, FusedGRUCell),
    "lstm cell": (nn.LSTMCell, FusedLSTMCell),
}  # fmt: skip
HIDDEN = (16, 64, 128, 256, 512)
SHAPES = {"layer": ((1, 100), (8, 64), (32, 32), (64, 16)), "cell": ((1, 16), (32, 16))}  # B, T


def output(module: nn.Module, x: Tensor) -> Tensor:
    """The states of every step; a cell is called step by step."""
    if not isinstance(module, nn.RNNCellBase):
        states: Tensor = module(x)[0]
        return states
    found, hx = [], None
    for row in x:
        hx = module(row, hx)
        found.append(hx if isinstance(hx, Tensor) else hx[0])
    return torch.stack(found)


def calls(kind: str, H: int, B: int, T: int, training: bool) -> list[Callable[[], None]]:
    """A call of torch.nn's module and one of ours, on the same weights, input and gradient."""
    theirs, ours = (module(H, H) for module in PAIRS[kind])
    for name, weight in theirs.named_parameters():
        setattr(ours, name, weight)  # the same memory: another may lie better or worse in the caches
    x, grad = torch.randn(T, B, H, requires_grad=training), torch.randn(T, B, H)

    def call(module: nn.Module) -> Callable[[], None]:
        def train() -> None:
            output(module, x).backward(grad)
            module.zero_grad()
            x.grad = None

        def infer() -> None:
            with torch.inference_mode():
                output(module, x)

        return train if training else infer

    return [call(theirs), call(ours)]


def pairs(both: list[Callable[[], None]], seconds: float, clock: Callable[[], float]) -> list[tuple[float, float]]:
    """Times of (theirs, ours), at least fifteen pairs and as many as fit."""
    for call in both * 2:
        call()
    found: list[tuple[float, float]] = []
    spent = 0.0
    while (spent < seconds and len(found) < 400) or len(found) < 15:
        times = [0.0, 0.0]
        for k in (0, 1) if len(found) % 2 else (1, 0):
            begin = clock()
            both[k]()
            times[k] = clock() - begin
        spent += sum(times)
        found.append((times[0], times[1]))
    return found


def measure(threads: Iterable[int], seconds: float) -> Iterable[dict[str, Any]]:
    """One record a row, printed as it is found."""
    for count, kind, H in product(threads, PAIRS, HIDDEN):
        torch.set_num_threads(count)
        clock = time.thread_time if count == 1 else time.perf_counter
        for (B, T), training in product(SHAPES["cell" if "cell" in kind else "layer"], (False, True)):
            found = pairs(calls(kind, H, B, T, training), seconds, clock)
            row = {
                "threads": count, "module": kind, "H": H, "B": B, "T": T, "mode": "training" if training else "inference",
                "pairs": len(found), "torch_ms": 1e3 * statistics.median(a for a, _ in found),
                "ratio": statistics.median(a / b for a, b in found),
            }  # fmt: skip
            print("  ".join(f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()), flush=True)
            yield row


def summary(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Smallest ratio and geometric mean, by threads, kind of module and mode."""
    groups: dict[str, list[float]] = {}
    for row, all_kinds in product(rows, (False, True)):
        kind = "all" if all_kinds else row["module"]
        groups.setdefault(f"{row['threads']} threads, {kind}, {row['mode']}", []).append(row["ratio"])
    return {
        name: {"min": min(ratios), "geometric_mean": statistics.geometric_mean(ratios)}
        for name, ratios in sorted(groups.items())
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=1.5, help="of measured time a row")
    args = parser.parse_args()
    torch.manual_seed(0)
    rows = list(measure(args.threads, args.seconds))
    found = summary(rows)
    for name, numbers in found.items():
        print(f"{name}: min {numbers['min']:.2f}, geometric mean {numbers['geometric_mean']:.2f}")
    record = {"torch": torch.__version__, "machine": platform.machine(), "rows": rows, "summary": found}
    write(args.out, json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
