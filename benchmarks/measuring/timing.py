"""Timing peers side by side: interleaved rounds, medians, and ratios taken within a round.

Whatever disturbs a machine for longer than a round disturbs every peer of that round alike, so a ratio of two peers is taken in
each round and its median over the rounds; a ratio of two medians would not have that property.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch

Call = Callable[[], Any]
SAMPLE_S = 0.01
"""A sample of the CPU clock lasts at least this long; shorter calls are repeated inside it."""
FLUSH_BYTES = 256 << 20
"""Written before each sample on a GPU, so that no peer finds its inputs in the cache that the one before filled."""


class Clock(Protocol):
    """Times one sample of a call, in seconds a call."""

    name: str

    def sample(self, call: Call) -> float:
        """Run `call` and return its time."""


class CpuClock:
    """Seconds of this process's own processor time: what other processes take does not count, waiting does not either."""

    name = "process time of the CPU"

    def __init__(self) -> None:
        self._repeats: dict[Call, int] = {}

    def sample(self, call: Call) -> float:
        """The mean of as many calls as fill `SAMPLE_S`."""
        if call not in self._repeats:
            self._repeats[call] = max(1, round(SAMPLE_S / max(self._run(call, 1), 1e-9)))
        return self._run(call, self._repeats[call])

    def _run(self, call: Call, repeats: int) -> float:
        start = time.process_time()
        for _ in range(repeats):
            call()
        return (time.process_time() - start) / repeats


class WallClock:
    """Seconds of the host's clock around one call, the device waited for."""

    name = "wall clock"

    def sample(self, call: Call) -> float:
        """One call."""
        start = time.perf_counter()
        call()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter() - start


class CudaClock:
    """Seconds of the device between two events around one call, its caches flushed before; no CUDA graph."""

    name = "CUDA events"

    def __init__(self) -> None:
        self._flush = torch.empty(FLUSH_BYTES, dtype=torch.int8, device="cuda")

    def sample(self, call: Call) -> float:
        """One call."""
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        self._flush.zero_()
        start.record()
        call()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) * 1e-3


def clock_for(device: torch.device) -> Clock:
    """Events on a GPU, processor time on a CPU."""
    return CudaClock() if device.type == "cuda" else CpuClock()


def paired(calls: Mapping[str, Call], clock: Clock, *, rounds: int, warmup: int) -> dict[str, list[float]]:
    """Seconds of every call in every round; each round runs each call once, a different one first.

    The lists are in step: entry k of each was measured in round k. `warmup` rounds are run and forgotten.
    """
    names = list(calls)
    samples: dict[str, list[float]] = {name: [] for name in names}
    for number in range(-warmup, rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            seconds = clock.sample(calls[name])
            if number >= 0:
                samples[name].append(seconds)
    return samples


@dataclass(frozen=True)
class Summary:
    """The median, and the 20th and 80th percentile."""

    median: float
    p20: float
    p80: float


def summarize(samples: list[float]) -> Summary:
    """Percentiles by linear interpolation; of one sample, that sample thrice."""
    if len(samples) == 1:
        return Summary(*samples * 3)
    p20, _, _, p80 = statistics.quantiles(samples, n=5, method="inclusive")
    return Summary(statistics.median(samples), p20, p80)


def ratios(base: list[float], other: list[float]) -> Summary:
    """base / other round by round, summarized: above 1 where `other` is faster."""
    return summarize([b / o for b, o in zip(base, other, strict=True)])


def time_columns(samples: list[float]) -> dict[str, float]:
    """The columns of a record that hold a time."""
    found = summarize(samples)
    return {"median_s": found.median, "p20_s": found.p20, "p80_s": found.p80, "samples": len(samples)}


def ratio_columns(base: list[float], other: list[float]) -> dict[str, float]:
    """The columns of a record that hold a ratio of two peers: above 1 where `other` is faster."""
    found = ratios(base, other)
    return {"ratio": found.median, "ratio_p20": found.p20, "ratio_p80": found.p80}
