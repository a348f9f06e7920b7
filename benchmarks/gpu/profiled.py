"""The kernels that a call runs on the GPU, by torch's profiler: how many, which, and which of cuDNN's algorithms they are.

torch's own rules say only which algorithm is asked for. Once a process has profiled, each of its launches may cost more, so that
nothing is timed in it afterwards.
"""

from collections.abc import Sequence

import torch

from benchmarks.machine_code.absent import NOT_RUN
from benchmarks.measuring.cases import Case
from benchmarks.measuring.footprint import kernels_of
from benchmarks.measuring.peers import BASE, peers
from benchmarks.measuring.records import Row

KEPT = 8  # kernels whose names a row keeps, those with the most time
LONGEST = 120  # characters of a name that are kept
POINTWISE = ("elementwise", "elemwise")
CELLS = ("rnn", "lstm", "gru")


def key_of(case: Case) -> str:
    """Its name in the record."""
    return f"profile: {case.key}"


def path_of(names: Sequence[str]) -> str:
    """The algorithm of cuDNN that kernels of these names belong to: "persistent", "standard", both, or "unknown".

    Persistent kernels say so in their names; the standard algorithm has a pointwise kernel of the cell beside its products.
    """
    lower = [name.lower() for name in names]
    persistent = any("persist" in name for name in lower)
    pointwise = [name for name in lower if any(word in name for word in POINTWISE)]
    standard = any(cell in name for name in pointwise for cell in CELLS)
    return " and ".join(["persistent"] * persistent + ["standard"] * standard) or "unknown"


def columns(found: list[tuple[str, int, float]]) -> Row:
    """What ran, as columns of a row."""
    kept = [{"name": name[:LONGEST], "count": count, "us": us} for name, count, us in found[:KEPT]]
    return {"kernels": sum(count for _, count, _ in found), "kernels_ran": kept}


def profile(case: Case, device_name: str, names: tuple[str, ...]) -> list[Row]:
    """A row for each peer of those names: the kernels of one call; of torch.nn also cuDNN's algorithm."""
    device = torch.device(device_name)
    about: Row = {**case.columns(), "key": key_of(case)}
    if device.type == "cpu":
        return [{**about, "peer": BASE, **NOT_RUN}]
    rows: list[Row] = []
    for name, peer in peers(case, device).items():
        if name in names:
            peer.call()
            found = kernels_of(peer.call)
            path = {"path_ran": path_of([name for name, _, _ in found])} if name == BASE else {}
            rows.append({**about, "peer": name, **columns(found), **path})
    return rows
