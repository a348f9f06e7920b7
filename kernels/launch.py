"""Launching sweeps: how many programs can run at the same time, the split into launches, and the report of a timeout."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
import triton

INTERPRETED: bool = triton.knobs.runtime.interpret
"""Whether kernels run in Triton's interpreter, one program after another; fixed when the kernels are imported."""

POLLS = 1 << 22
"""Polls until a timeout: seconds on a GPU, where a poll takes about a microsecond."""

RUNTIME = [
    "T", "B", "D", "n_slices", "n_tiles", "lane_begin", "tick_begin", "tick_end", "polls", "launch_id", "threshold", "scale",
    "zone_h", "zone_c", "candidate_threshold", "candidate_scale",
]  # fmt: skip
"""Integer arguments of a sweep that Triton must not specialise on, so that their values cause no recompilation."""


class SweepTimeoutError(RuntimeError):
    """A program timed out while polling the data of another program; the outputs of that launch are NaN from there on."""


_error_words: dict[torch.device, torch.Tensor] = {}
_launch_ids = itertools.count(1)
_launches: dict[int, str] = {}


def error_word(device: torch.device) -> torch.Tensor:
    """Return the (1,) int32 tensor to which a launch on ``device`` writes its id on a timeout.

    It is in pinned memory, so that the host reads it without synchronising. A ``device`` without an index is the current one.

    Raises:
        RuntimeError: the tensor does not exist yet, and cannot be allocated while a CUDA graph is captured.
    """
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", torch.cuda.current_device())
    if device not in _error_words:
        if device.type == "cuda" and torch.cuda.is_current_stream_capturing():
            raise RuntimeError(
                f"expected a call of the kernels on {device} before the first one that a CUDA graph captures, got none: run the "
                "model once outside the capture, as torch.cuda.graph's documentation does"
            )
        with torch.inference_mode(mode=False):  # an inference tensor could not be cleared outside of that mode
            word = torch.zeros(1, dtype=torch.int32, device="cpu", pin_memory=device.type == "cuda")
        _error_words[device] = word
    return _error_words[device]


def check(device: torch.device) -> None:
    """Raise ``SweepTimeoutError`` if a launch on ``device`` has reported a timeout so far; does not synchronise."""
    word = error_word(device)
    failed = int(word.item())
    if failed:
        word.zero_()
        raise SweepTimeoutError(
            f"{_launches.get(failed, f'launch {failed}')}: expected every program to arrive, got none in {POLLS} polls; "
            "its outputs are NaN from there on"
        )


def capacity(device: torch.device) -> int:
    """Multiprocessors of ``device``, and so programs guaranteed to run at the same time; 1 in the interpreter."""
    if INTERPRETED:
        return 1
    return int(torch.cuda.get_device_properties(device).multi_processor_count)


def start(kernel: Any, programs: int, cooperative: bool, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Launch a grid; return the compiled kernel. ``cooperative``: the driver refuses a grid that cannot run all at once."""
    if not INTERPRETED:
        options = {**options, "launch_cooperative_grid": cooperative}
    return kernel[(programs,)](*arguments, **options)


def run(
    kernel: Any,
    arguments: Callable[..., tuple[Any, ...]],
    options: dict[str, Any],
    *,
    device: torch.device,
    name: str,
    slices: int,
    lanes: int,
    ticks: int,
    per_sm: int = 1,
    whole: bool = False,
) -> None:
    """Run ticks [0, ticks) of every lane.

    ``arguments(errors, lane_begin, tick_begin, tick_end, polls, launch_id)`` builds the kernel's arguments. ``per_sm``: programs
    guaranteed to run on one multiprocessor at the same time. If the ``slices`` programs of a lane can all run at the same time,
    a launch runs all ticks of as many lanes as fit. Otherwise it runs one tick of all lanes, in which no program waits for another;
    ``whole``: they would wait.

    Raises:
        RuntimeError: ``whole``, and the programs of a lane cannot all run at the same time.
    """
    check(device)
    errors = error_word(device)
    launch_id = next(_launch_ids)
    _launches[launch_id] = f"{name} (launch {launch_id}, {slices} slices, {lanes} lanes, {ticks} ticks)"
    _launches.pop(launch_id - 4096, None)
    room = capacity(device) * per_sm
    if whole and slices > room:
        raise RuntimeError(
            f"{name}: expected at most {room} programs a lane, which all run at the same time, got {slices}"
        )
    if slices == 1 or slices <= room:
        together = max(1, room // slices) if slices > 1 else lanes
        for lane in range(0, lanes, together):
            count = min(together, lanes - lane)
            built = arguments(errors, lane, 0, ticks, POLLS, launch_id)
            start(kernel, slices * count, slices > 1, built, options)
    else:
        for tick in range(ticks):
            built = arguments(errors, 0, tick, tick + 1, POLLS, launch_id)
            start(kernel, slices * lanes, False, built, options)
    if INTERPRETED:
        check(device)
