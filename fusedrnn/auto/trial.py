"""The measurement behind a decision.

1. The kernels are compared with the reference in float64 on a short problem (`check`).
2. They and torch's own run a problem of the kind's size; the results must agree, and be the same in every bit when repeated.
3. Both are timed in turn (`race`). The kernels are chosen if they are at least `GAIN` times as fast.
4. Other rows of the launch table are held to the same, a few for each sweep; a faster one replaces the table's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from fusedrnn.auto.check import Check
from fusedrnn.auto.decision import Decision
from fusedrnn.auto.errors import KernelError, NotMeasuredError, WrongResultError
from fusedrnn.auto.kind import Kind
from fusedrnn.auto.machine import Machine
from fusedrnn.auto.race import Race
from fusedrnn.backends import cost
from fusedrnn.backends.chips import chip_of
from fusedrnn.backends.cudnn import Layer
from fusedrnn.kernels.rows import Row
from fusedrnn.kernels.table import choose, runnable
from fusedrnn.operators.layer import BY_TABLE, Rows

GAIN = 1.05
"""As fast as what they replace, at least: the kernels, and another row."""
MORE_ROWS = 2
"""Rows beside the table's that are tried for each sweep."""
HOPELESS = 1.5
"""No more rows are tried if the table's are this many times as slow as torch's own."""


Over = Callable[[], bool]
"""Says whether a measurement should end; it is asked between steps of a few seconds."""


def table_rows(kind: Kind, machine: Machine) -> Rows:
    """The places of the rows that the launch table chooses for the two sweeps of a kind."""
    about = (kind.cell, kind.torch_dtype, kind.hidden_size, kind.batch, kind.directions, *machine.chip)
    forward, backward = (choose(sweep, *about, tf32=kind.tf32) for sweep in ("forward", "backward"))
    return rows_of("forward", kind, machine).index(forward), rows_of("backward", kind, machine).index(backward)


def rows_of(sweep: str, kind: Kind, machine: Machine) -> tuple[Row, ...]:
    """The rows that a sweep of a kind may be launched with."""
    return runnable(sweep, kind.cell, kind.torch_dtype, kind.hidden_size, *machine.chip, tf32=kind.tf32)


def measure(kind: Kind, device: torch.device, machine: Machine, over: Over) -> Decision:
    """Decide for a kind of call by a measurement.

    Raises:
        WrongResultError: the kernels are wrong on this machine. KernelError: they raise an error. NotMeasuredError: no decision
            could be made.
    """
    table, check = table_rows(kind, machine), Check(kind, device)
    judged = check.judge(table)
    if judged.verdict == "wrong":
        raise WrongResultError(judged.text)
    if judged.verdict == "inexact":
        return Decision("aten", f"the kernels are inexact: {judged.text}", error=judged.share)
    if over():
        raise NotMeasuredError("the time for measuring is used up")
    race = Race(kind, device)
    ours_s, torch_s = race.against_torch(BY_TABLE)
    rows = BY_TABLE
    if ours_s < HOPELESS * torch_s:
        rows, ours_s = _best_rows(kind, machine, check, race, table, ours_s, over)
    ratio = torch_s / ours_s
    reason = f"the kernels are {ratio:.2f} times as fast as torch's own"
    told: dict[str, Any] = {"ours_ms": ours_s * 1e3, "torch_ms": torch_s * 1e3, "error": judged.share}
    if ratio >= GAIN:
        return Decision("triton", reason, rows, **told)
    return Decision("aten", f"{reason}, and have to be {GAIN}", **told)


def _best_rows(
    kind: Kind, machine: Machine, check: Check, race: Race, table: Rows, ours_s: float, over: Over
) -> tuple[Rows, float]:
    """The fastest rows of those tried until it is over, and the seconds of a call with them."""
    best = BY_TABLE
    for sweep in range(2 if kind.training else 1):
        for place in others(sweep, kind, machine, table[sweep]):
            if over():
                return best, ours_s
            tried = (place, best[1]) if sweep == 0 else (best[0], place)
            try:
                forward, backward = (t if t >= 0 else default for t, default in zip(tried, table, strict=True))
                judged = check.judge((forward, backward))
                if judged.verdict == "wrong":
                    raise WrongResultError(judged.text)
                if judged.verdict == "inexact":
                    continue
                new_s, old_s = race.against(tried, best)
            except KernelError:  # such a row cannot be launched here
                continue
            if old_s >= GAIN * new_s:
                best, ours_s = tried, ours_s * new_s / old_s
    return best, ours_s


def others(sweep: int, kind: Kind, machine: Machine, chosen: int) -> list[int]:
    """Places of rows to try: those with the lowest floor where the chip is known, else the first ones of the table."""
    name = ("forward", "backward")[sweep]
    rows, (capability, multiprocessors) = rows_of(name, kind, machine), machine.chip
    places = [place for place in range(len(rows)) if place != chosen]
    chip = None if capability is None else chip_of(capability, multiprocessors)
    if chip is not None:
        layer = layer_of(kind)
        places.sort(key=lambda place: cost.sweep_s(chip, name, layer, rows[place]))
    return places[:MORE_ROWS]


def layer_of(kind: Kind) -> Layer:
    """The kind as the floor model has it. All samples of packed input count with all steps."""
    return Layer(
        cell=kind.cell,
        dtype=kind.torch_dtype,
        T=kind.steps,
        B=kind.batch,
        I=kind.input_size,
        H=kind.hidden_size,
        D=kind.directions,
        L=kind.layers,
        tf32=kind.tf32,
        packed=kind.layout != "padded",
        projected=kind.projected,
    )
