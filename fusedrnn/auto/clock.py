"""Timing two calls in turn, by CUDA events; in the interpreter by the clock of the process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

Call = Callable[[], Any]
FEWEST, MOST, TIMED_S = 3, 15, 0.3
"""Rounds at least and at most, and the seconds that they should take."""


def seconds(call: Call, device: torch.device) -> float:
    """The time of one call on `device`."""
    if device.type != "cuda":
        begun = time.perf_counter()
        call()
        return time.perf_counter() - begun
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    call()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) * 1e-3


def compared(first: Call, second: Call, device: torch.device) -> tuple[float, float]:
    """Median times of two calls. They run in turn, so that a disturbance meets both; the first run of each does not count."""
    once = sum(seconds(call, device) for call in (first, second) for _ in range(2)) / 2
    rounds = max(FEWEST, min(MOST, int(TIMED_S / max(once, 1e-9))))
    pairs = [(seconds(first, device), seconds(second, device)) for _ in range(rounds)]
    ones, others = zip(*pairs, strict=True)
    return statistics.median(ones), statistics.median(others)
