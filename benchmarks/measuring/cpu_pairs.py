"""Our modules beside what a user would write with torch.nn on a CPU, in interleaved rounds: a table, and records in JSON.

    python -m benchmarks.measuring.cpu_pairs --out FILE [--threads 1 2] [--seconds 0.4] [--paths ids lengths=] [--cells gru]

A row is one case of `cpu_cases`. Each round times one call of every rival and one of ours on `backend="auto"`, in turning order;
the row has, for each rival, the median over the rounds of its time / ours: above 1, ours is faster. On one thread the clock is the
thread's CPU time, which other processes hardly disturb; on several it is wall time. A row with a ratio below `GOAL` is measured
four times more, and has the median of the five.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.measuring import timing
from benchmarks.measuring.cpu_cases import LAYERS, PATHS, Sizes, cases
from benchmarks.measuring.environment import environment
from benchmarks.measuring.records import Record
from benchmarks.measuring.timing import paired

GOAL = 0.98
"""From this ratio on ours is no slower."""
Calls = dict[str, Callable[[], None]]
Clock = Callable[[], float]


def calls(path: str, sizes: Sizes) -> Calls:
    """The calls of a case: whole steps of training, or inference."""

    def whole(call: Callable[[], Tensor]) -> Callable[[], None]:
        output = call()
        grad, given = torch.randn_like(output), leaves(output)

        def train() -> None:
            call().backward(grad)
            for leaf in given:
                leaf.grad = None

        def infer() -> None:
            with torch.inference_mode():
                call()

        return train if sizes.training else infer

    return {name: whole(call) for name, call in PATHS[path](sizes).items()}


def leaves(output: Tensor) -> list[Tensor]:
    """The tensors that a backward from `output` gives gradients."""
    found, left, seen = [], [output.grad_fn], set()
    while left:
        node: Any = left.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.append(node.variable)
        left += [following for following, _ in node.next_functions]
    return found


class Once(NamedTuple):
    """Seconds of one call by `now`."""

    now: Clock

    def sample(self, call: Callable[[], Any]) -> float:
        """One call."""
        begin = self.now()
        call()
        return self.now() - begin


def rounds(each: Calls, seconds: float, clock: Clock) -> dict[str, list[float]]:
    """Times of all calls by round: 9 to 300 rounds, as many as fit into `seconds` a call."""
    first = paired(each, Once(clock), rounds=1, warmup=2)
    fitting = int(seconds * len(each) / sum(times[0] for times in first.values()))
    return paired(each, Once(clock), rounds=min(max(fitting, 9), 300), warmup=0)


def ratios(times: dict[str, list[float]]) -> dict[str, float]:
    """The median of rival / ours, by rival."""
    return {name: timing.ratios(each, times["ours"]).median for name, each in times.items() if name != "ours"}


def measure(
    paths: Iterable[str], threads: Iterable[int], cells: Collection[str], seconds: float
) -> Iterable[dict[str, Any]]:
    """One record a row, printed as it is found."""
    for count in threads:
        torch.set_num_threads(count)
        clock = time.thread_time if count == 1 else time.perf_counter
        for path in paths:
            for sizes in cases(path):
                if sizes.cell not in cells:
                    continue
                each = calls(path, sizes)
                times = rounds(each, seconds, clock)
                found = ratios(times)
                if min(found.values()) < GOAL:
                    again = [found, *(ratios(rounds(each, seconds, clock)) for _ in range(4))]
                    found = {name: statistics.median(one[name] for one in again) for name in found}
                sized = sizes._asdict()
                del sized["training"]
                row = {
                    "threads": count, "path": path, **sized, "mode": "training" if sizes.training else "inference",
                    "ours_ms": 1e3 * statistics.median(times["ours"]), "ratios": found,
                }  # fmt: skip
                print("  ".join(f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()), flush=True)
                yield row


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=0.4, help="of measured time a call in a row")
    parser.add_argument("--paths", nargs="+", choices=list(PATHS), default=list(PATHS))
    parser.add_argument("--cells", nargs="+", choices=list(LAYERS), default=list(LAYERS))
    args = parser.parse_args()
    torch.manual_seed(0)
    record = Record({**environment(torch.device("cpu")), "threads": args.threads})
    for row in measure(args.paths, args.threads, args.cells, args.seconds):
        record.rows.append(row)
        record.save(args.out)


if __name__ == "__main__":
    main()
