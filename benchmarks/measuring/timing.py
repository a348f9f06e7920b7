"""Timing peers side by side: interleaved rounds, medians, and ratios taken within a round.

A disturbance of the machine that lasts longer than a round slows down every peer of that round, so a ratio of two peers is taken in
each round, and its median over the rounds is reported. A ratio of two medians would not have that property.
"""

import statistics
import time
import timeit
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import torch

Call = Callable[[], Any]
SAMPLE_S = 0.01  # least time of a sample on the CPU; shorter calls are repeated
FLUSH_BYTES = 256 << 20  # written before each sample on a GPU: more than its caches hold


class CpuClock:
    """Seconds of processor time of this process: neither waiting nor other processes count."""

    name = "process time of the CPU"

    def __init__(self) -> None:
        self._repeats: dict[Call, int] = {}

    def sample(self, call: Call) -> float:
        """The mean of as many calls as fill `SAMPLE_S`."""
        if call not in self._repeats:
            self._repeats[call] = max(1, round(SAMPLE_S / max(self._mean(call, 1), 1e-9)))
        return self._mean(call, self._repeats[call])

    def _mean(self, call: Call, number: int) -> float:
        return timeit.timeit(call, timer=time.process_time, number=number) / number


class CudaClock:
    """Seconds of the device between two events around one call, with cold caches and without a CUDA graph."""

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


class Clock(Protocol):
    """What times a call."""

    def sample(self, call: Call) -> float:
        """Seconds of the call."""


def clock_for(device: torch.device) -> CpuClock | CudaClock:
    """Events on a GPU, processor time on a CPU."""
    return CudaClock() if device.type == "cuda" else CpuClock()


def paired(calls: Mapping[str, Call], clock: Clock, *, rounds: int, warmup: int) -> dict[str, list[float]]:
    """Seconds of every call in every round; each round runs each call once, a different one first.

    The order is turned round after each call was first once, so that none always follows the same one: of three calls, two that
    share weights are faster after each other than after the third.

    Entry k of every list was measured in round k. The first `warmup` rounds are not returned.
    """
    names = list(calls)
    samples: dict[str, list[float]] = {name: [] for name in names}
    for number in range(-warmup, rounds):
        turn, first = divmod(number, len(names))
        if turn % 2:
            first = -first
        order = names[first:] + names[:first]
        for name in reversed(order) if turn % 2 else order:
            seconds = clock.sample(calls[name])
            if number >= 0:
                samples[name].append(seconds)
    return samples


class Summary(NamedTuple):
    """The median, and the 20th and 80th percentile."""

    median: float
    p20: float
    p80: float


def summarize(samples: list[float]) -> Summary:
    """Percentiles by linear interpolation; a single sample is all three."""
    if len(samples) == 1:
        return Summary(*samples * 3)
    p20, _, _, p80 = statistics.quantiles(samples, n=5, method="inclusive")
    return Summary(statistics.median(samples), p20, p80)


def ratios(base: list[float], other: list[float]) -> Summary:
    """base / other round by round, summarized: above 1 where `other` is faster."""
    return summarize([b / o for b, o in zip(base, other, strict=True)])


def time_columns(samples: list[float]) -> dict[str, float]:
    """A time as columns of a record."""
    return dict(zip(("median_s", "p20_s", "p80_s"), summarize(samples), strict=True)) | {"samples": len(samples)}


def ratio_columns(base: list[float], other: list[float]) -> dict[str, float]:
    """A ratio of two peers as columns of a record: above 1 where `other` is faster."""
    return dict(zip(("ratio", "ratio_p20", "ratio_p80"), ratios(base, other), strict=True))


def timed_rows(
    calls: Mapping[str, Call], device: torch.device, base: str, *, rounds: int, warmup: int
) -> list[dict[str, Any]]:
    """A row for each call: its time and, beside a call named `base`, its ratio to that."""
    clock = clock_for(device)
    samples = paired(calls, clock, rounds=rounds, warmup=warmup) if calls else {}
    rows: list[dict[str, Any]] = []
    for peer, seconds in samples.items():
        ratio = ratio_columns(samples[base], seconds) if base in samples and peer != base else {}
        rows.append({"peer": peer, **time_columns(seconds), **ratio, "clock": clock.name})
    return rows
