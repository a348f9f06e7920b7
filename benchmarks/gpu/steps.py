"""Microseconds a step of the sweeps, measured, beside what the timeline of the same machine code predicts.

    python -m benchmarks.gpu.steps      # the predictions alone, for an H100 that is absent

A sweep is timed at two lengths; the difference over the difference of lengths is a step, without launch, allocation and the
loading of weights.
"""

from dataclasses import asdict, replace
from itertools import product
from typing import Any
from unittest import mock

import torch

from benchmarks.gpu.tuning import Tune, problem
from benchmarks.machine_code import absent, timeline
from benchmarks.measuring.environment import gpu_of
from benchmarks.measuring.floor import best
from benchmarks.measuring.records import Row
from benchmarks.measuring.timing import clock_for, paired, summarize
from fusedrnn.kernels.rows import Row as Launch

SHORT, LONG = 64, 576  # steps
ROUNDS, WARMUP = 15, 3
WIDTHS = (512, 256, 64, 1024)
BATCH = 32


def shapes() -> list[Tune]:
    """The sweeps that are timed, the goals' first; T is the longer of the two lengths."""
    wanted = product(WIDTHS, ("lstm", "gru"), ("forward", "backward"))
    return [Tune(sweep, cell, "bf16", T=LONG, B=BATCH, H=H) for H, cell, sweep in wanted]


def key_of(tune: Tune) -> str:
    """Its name in the record."""
    return f"step: {tune.sweep} of {tune.cell} {tune.dtype} B{tune.B} H{tune.H}"


def compiled(tune: Tune, row: Launch, device: torch.device) -> Any:
    """What Triton compiled for the sweep's launch; None in the interpreter."""
    from fusedrnn.kernels import launch

    found = []
    original = launch.start

    def start(*arguments: Any) -> Any:
        found.append(original(*arguments))
        return found[-1]

    call = problem(replace(tune, T=2), device)
    with mock.patch.object(launch, "start", start):
        call(row)
    return found[-1]


def predicted(kernel: Any, warps: int, hz: float | None) -> Row:
    """The timeline's columns for a compiled kernel; `hz`: the clock measured, None for the chip's own."""
    told = timeline.predict(kernel.asm["cubin"], warps)
    at = hz or timeline.CLOCK_HZ
    return {
        "predicted_cycles": told.cycles, "on_chip_cycles": told.on_chip, "slow_cycles": told.slow,
        "predicted_us": told.cycles / at * 1e6, "on_chip_us": told.on_chip / at * 1e6,
    }  # fmt: skip


def measure(tune: Tune, device_name: str, hz: float | None, lengths: tuple[int, int], rounds: int) -> list[Row]:
    """One row: microseconds a step, its spread over the rounds, and the predictions."""
    device = torch.device(device_name)
    capability, sms, chip = gpu_of(device)
    row = tune.table_row(capability, sms)
    short, long = lengths
    calls = {T: problem(replace(tune, T=T), device) for T in lengths}
    timed = {f"{T}": (lambda call=call: call(row)) for T, call in calls.items()}
    samples = paired(timed, clock_for(device), rounds=rounds, warmup=WARMUP)
    steps = [(b - a) / (long - short) * 1e6 for a, b in zip(samples[f"{short}"], samples[f"{long}"], strict=True)]
    found = summarize(steps)
    about: Row = {"key": key_of(tune), "peer": "ours", **asdict(tune), "form": row.weights, "row": asdict(row)}
    about |= {"us_a_step": found.median, "us_p20": found.p20, "us_p80": found.p80, "clock_hz": hz}
    floor = best(chip, tune.sweep, tune.layer) if chip is not None else None
    if floor is not None:
        about["floor_us"] = floor.seconds * 1e6
    try:
        kernel = compiled(tune, row, device)
        about |= predicted(kernel, row.warps, hz) if kernel is not None else {}
    except Exception as failure:  # what has been measured stands without it
        about["prediction_error"] = f"{type(failure).__name__}: {failure}"
    return [about]


def main() -> None:
    """Compile the sweeps for an absent H100 and print what the timeline predicts."""
    chip = absent.Chip((9, 0), 132)
    absent.install(chip)
    for tune in shapes():
        own = tune.table_row(chip.capability, chip.multiprocessors)
        told = predicted(compiled(tune, own, torch.device("cpu")), own.warps, None)
        print(f"{key_of(tune)}: {told['predicted_us']:.2f} us a step, {told['on_chip_us']:.2f} of them on chip")


if __name__ == "__main__":
    main()
