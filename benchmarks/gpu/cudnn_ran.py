"""Which of cuDNN's algorithms ran, by the names of its kernels: torch's own rules say only which one is asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.records import Row
from fusedrnn.kernels.cudnn import PERSIST_STATIC, SMALL_H, STANDARD

KEPT = 8
"""Kernels whose names a row keeps, those with the most time."""
LONGEST = 120
"""Characters of a name that are kept."""


def kernels_of(call: Callable[[], Any]) -> list[tuple[str, int, float]]:
    """Names of the kernels that a call runs on the GPU, how often each, and its microseconds, the longest first."""
    activity = torch.profiler.ProfilerActivity
    with torch.profiler.profile(activities=[activity.CPU, activity.CUDA]) as profile:
        call()
        torch.cuda.synchronize()
    counts: Counter[str] = Counter()
    spent: Counter[str] = Counter()
    for event in profile.events():
        if event.device_type == torch.autograd.DeviceType.CUDA:
            counts[event.name] += 1
            spent[event.name] += int(event.time_range.elapsed_us() * 1000)
    return [(name, counts[name], ns / 1000) for name, ns in spent.most_common()]


def path_of(names: list[str]) -> str:
    """The algorithm that kernels of these names belong to, or "unknown".

    Persistent kernels say so in their names, and those for small H say that too; the standard algorithm's pointwise kernels
    are called after a cell and "elementWise".
    """
    joined = " ".join(names).lower()
    if "persist" in joined:
        return SMALL_H if "small" in joined else PERSIST_STATIC
    return STANDARD if "elementwise" in joined and ("lstm" in joined or "gru" in joined) else "unknown"


def columns(call: Callable[[], Any]) -> Row:
    """What ran, as columns of a row; why it is not known, where the profiler fails."""
    try:
        found = kernels_of(call)
    except Exception as failure:
        return {"profile_error": f"{type(failure).__name__}: {failure}"}
    kept = [{"name": name[:LONGEST], "count": count, "us": us} for name, count, us in found[:KEPT]]
    return {
        "path_ran": path_of([name for name, _, _ in found]),
        "kernels_ran": kept,
        "launches": sum(c for _, c, _ in found),
    }
