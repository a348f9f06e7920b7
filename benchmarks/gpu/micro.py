"""Measurements of a chip that the model of a step needs: its clock, how long a store takes to be seen by another SM, and a fence.

Two programs hand a number back and forth through one word of memory; one program stores and fences again and again. Each
kernel reads the SM's own cycle counter before and after its loop. Every wait is bounded: a program that times out stops,
and its count says so.
"""

from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from benchmarks.machine_code.absent import NOT_RUN, Chip
from benchmarks.measuring.records import Row

ROUNDS = 2000
POLLS = 1 << 16  # of one wait, before it gives up
REPEATS = 5
WORDS = 1024  # 32-bit words that a program stores between two fences: 16 bytes a thread of 8 warps
KINDS = ("polled word", "atomic counter", "fence", "fence with stores", "clock")


@triton.jit
def cycles():
    """The SM's cycle counter."""
    return tl.inline_asm_elementwise("mov.u64 $0, %clock64;", "=l", [], dtype=tl.int64, is_pure=False, pack=1)


@triton.jit
def nanoseconds():
    """The GPU's clock."""
    return tl.inline_asm_elementwise("mov.u64 $0, %globaltimer;", "=l", [], dtype=tl.int64, is_pure=False, pack=1)


@triton.jit
def multiprocessor():
    """The SM that this program runs on."""
    return tl.inline_asm_elementwise("mov.u32 $0, %smid;", "=r", [], dtype=tl.int32, is_pure=False, pack=1)


@triton.jit
def load_relaxed(ptr):
    """A load that other SMs' stores reach, without order."""
    return tl.inline_asm_elementwise(
        "ld.relaxed.gpu.global.u32 $0, [$1];", "=r,l", [ptr.to(tl.int64)], dtype=tl.int32, is_pure=False, pack=1
    )


@triton.jit
def store_relaxed(ptr, value):
    """A store that other SMs' loads see, without order; returns the value."""
    return tl.inline_asm_elementwise(
        "st.relaxed.gpu.global.u32 [$1], $2; mov.u32 $0, $2;", "=r,l,r", [ptr.to(tl.int64), value],
        dtype=tl.int32, is_pure=False, pack=1,
    )  # fmt: skip


@triton.jit
def fence():
    """Orders the stores before it before those after it, for every SM."""
    return tl.inline_asm_elementwise(
        "fence.acq_rel.gpu; mov.u32 $0, 0;", "=r", [], dtype=tl.int32, is_pure=False, pack=1
    )


@triton.jit(do_not_specialize=["rounds", "polls"])
def ping_pong(
    words_ptr,   # (64,) int32, zeros; one word a program, 128 bytes apart
    result_ptr,  # (2, 3) int64: cycles, rounds done, SM, a program
    rounds, polls,
    ATOMIC: tl.constexpr,  # by a counter that is added to with release and polled with acquire, else by a word
):  # fmt: skip
    """Programs 0 and 1 answer each other: 0 writes k, 1 waits for it and writes k, 0 waits for that."""
    me = tl.program_id(0)
    mine, other = words_ptr + me * 32, words_ptr + (1 - me) * 32
    begun = cycles()
    done = tl.full((), 0, tl.int32)
    seen = tl.full((), 0, tl.int32)
    while (done < rounds) & (seen >= done):
        wanted = done + 1
        if me == 0:
            if ATOMIC:
                tl.atomic_add(mine, 1, sem="release", scope="gpu")
            else:
                store_relaxed(mine, wanted)
        left = polls
        while (seen < wanted) & (left > 0):
            seen = tl.atomic_add(other, 0, sem="acquire", scope="gpu") if ATOMIC else load_relaxed(other)
            left -= 1
        if me == 1:
            if ATOMIC:
                tl.atomic_add(mine, 1, sem="release", scope="gpu")
            else:
                store_relaxed(mine, wanted)
        done = wanted
    tl.store(result_ptr + me * 3, cycles() - begun)
    tl.store(result_ptr + me * 3 + 1, tl.minimum(seen, done).to(tl.int64))
    tl.store(result_ptr + me * 3 + 2, multiprocessor().to(tl.int64))


@triton.jit(do_not_specialize=["rounds"])
def fences(
    out_ptr,     # (rounds, WORDS) int32
    result_ptr,  # (2,) int64: cycles, nanoseconds
    rounds,
    FENCE: tl.constexpr, STORES: tl.constexpr, WORDS: tl.constexpr,
):  # fmt: skip
    """One program stores a row and fences, `rounds` times."""
    at = tl.arange(0, WORDS)
    since = nanoseconds()
    begun = cycles()
    for k in range(0, rounds):
        if STORES:
            tl.store(out_ptr + k * WORDS + at, at + k)
        if FENCE:
            fence()
    took = cycles() - begun
    tl.store(result_ptr, took)
    tl.store(result_ptr + 1, nanoseconds() - since)


def _run_ping_pong(atomic: bool, device: torch.device | str) -> Tensor:
    """By program: cycles, rounds done and SM."""
    words = torch.zeros(64, dtype=torch.int32, device=device)
    result = torch.zeros(2, 3, dtype=torch.int64, device=device)
    launch: Any = ping_pong[(2,)]
    launch(words, result, ROUNDS, POLLS, ATOMIC=atomic, num_warps=1, launch_cooperative_grid=True)
    return result


def _run_fences(fence: bool, stores: bool, device: torch.device | str) -> Tensor:
    """Cycles and nanoseconds."""
    out = torch.empty(ROUNDS * WORDS, dtype=torch.int32, device=device)
    result = torch.zeros(2, dtype=torch.int64, device=device)
    fences[(1,)](out, result, ROUNDS, FENCE=fence, STORES=stores, WORDS=WORDS, num_warps=8)
    return result


def _ping_pong(atomic: bool, device: torch.device) -> Row:
    """Cycles from a store, or an addition, until the other SM has seen it: half of a round trip."""
    (took, done, sm), (_, _, other) = _run_ping_pong(atomic, device).tolist()
    if done != ROUNDS:
        raise RuntimeError(f"expected {ROUNDS} rounds, got {done} and a program that waited in vain")
    if sm == other:
        raise RuntimeError(f"expected two multiprocessors, got both programs on {sm}")
    return {"cycles": took / ROUNDS / 2, "rounds": ROUNDS}


def _once(kind: str, device: torch.device) -> Row:
    if kind in ("polled word", "atomic counter"):
        return _ping_pong(kind == "atomic counter", device)
    if kind == "clock":
        took, spent = _run_fences(True, True, device).tolist()
        return {"hz": took / max(spent, 1) * 1e9}
    with_fence, without = (_run_fences(fence, kind == "fence with stores", device)[0].item() for fence in (True, False))
    return {"cycles": with_fence / ROUNDS - without / ROUNDS, "rounds": ROUNDS}


def measure(kind: str, device_name: str) -> list[Row]:
    """One row: the median of `REPEATS` measurements of a kind of `KINDS`, and all of them."""
    row: Row = {"key": f"micro: {kind}", "peer": "chip"}
    if device_name == "cpu":
        return [{**row, **NOT_RUN}]
    found = [_once(kind, torch.device(device_name)) for _ in range(REPEATS + 1)][1:]  # the first one warms up
    unit = "hz" if kind == "clock" else "cycles"
    values = sorted(one[unit] for one in found)
    return [{**row, **found[0], unit: values[len(values) // 2], "all": values}]


@dataclass(frozen=True)
class Micro:
    """The kernels of this file, as the compile phase takes them."""

    def identity(self, chip: Chip) -> tuple[Any, ...]:
        """There is one set."""
        return ("micro",)

    def compile(self) -> None:
        """Compile them for the chip of this process."""
        _compile_all()


def _compile_all() -> None:
    for atomic in (False, True):
        _run_ping_pong(atomic, "meta")
    for fence_too, stores in ((True, True), (False, True), (True, False), (False, False)):
        _run_fences(fence_too, stores, "meta")
