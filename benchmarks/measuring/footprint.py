"""What a training step holds in memory, how long the host takes to issue it, and the kernels that it launches."""

import statistics
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from benchmarks.measuring.cases import Case
from benchmarks.measuring.options import Options
from benchmarks.measuring.peers import BASE, Peer, ours_backend, peers
from benchmarks.measuring.records import Row


def memory(case: Case, device: torch.device, options: Options) -> list[Row]:
    """Bytes that autograd keeps between forward and backward, inputs and weights left out; on a GPU also the peak of a step."""
    measured = peers(case, device)
    del measured["reference"]  # it keeps every operator's operands, which is not its purpose
    if ours_backend(device) == "triton":
        measured["ours, recompute"] = _recomputing(measured["ours"])
    rows: list[Row] = []
    for name, peer in measured.items():
        row: Row = {"peer": name, "saved_bytes": saved_bytes(peer)}
        if device.type == "cuda":
            peer.call()
            torch.cuda.synchronize(device)
            before = torch.cuda.memory_allocated(device)
            torch.cuda.reset_peak_memory_stats(device)
            peer.call()
            torch.cuda.synchronize(device)
            row["peak_bytes"] = torch.cuda.max_memory_allocated(device) - before
        rows.append(row)
    base, *others = rows if BASE in measured else [{}, *rows]
    for row, name in product(others, ("saved_bytes", "peak_bytes")):
        if name in row and name in base:
            row[f"{name}_ratio"] = base[name] / max(row[name], 1)
    return rows


def _recomputing(peer: Peer) -> Peer:
    """The same call, its backward forming the gates again."""

    def call() -> None:
        with mock.patch.object(peer.module, "memory", "recompute"):
            peer.call()

    return replace(peer, call=call)


def saved_bytes(peer: Peer) -> int:
    """Bytes of the distinct storages that a training step saves for its backward, what it was given left out."""
    given = {tensor.untyped_storage().data_ptr() for tensor in peer.given}
    seen: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in given:
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        peer.call()
    return sum(seen.values())


def launches(case: Case, device: torch.device, options: Options) -> list[Row]:
    """The host's seconds to issue a step, without waiting for it; with `options.profile`, on a GPU, also its kernels."""
    rows: list[Row] = []
    measured = peers(case, device)
    del measured["reference"]
    for name, peer in measured.items():
        peer.call()
        seconds = []
        for _ in range(options.rounds):
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            start = time.perf_counter()
            peer.call()
            seconds.append(time.perf_counter() - start)
        rows.append({"peer": name, "host_s": statistics.median_high(seconds)})
    if device.type == "cuda" and options.profile:  # after all times: a process that has profiled launches more slowly
        for row in rows:
            row["kernels"] = sum(count for _, count, _ in kernels_of(measured[row["peer"]].call))
    return rows


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
