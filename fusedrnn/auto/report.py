"""The text of `python -m fusedrnn info`, and the tables of `python -m fusedrnn tune`."""

from __future__ import annotations

import math
import os
import platform
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence

import torch

from fusedrnn.auto import settings, store
from fusedrnn.auto.decision import Decision
from fusedrnn.auto.machine import Machine, machine_of
from fusedrnn.auto.parity import Judged
from fusedrnn.auto.terminal import messages, table
from fusedrnn.backends.choice import requested
from fusedrnn.backends.dispatch import available_backends
from fusedrnn.kernels.table import unserved
from fusedrnn.operators.layer import BY_TABLE

VARIABLES = ("FUSEDRNN_BACKEND", settings.MODE_VARIABLE, settings.BUDGET_VARIABLE, settings.FOLDER_VARIABLE)
LEGEND = (
    "ms: median time of a call. rows: places in the launch table, of the forward and the backward sweep, or table for those that "
    "it chooses. error: the largest error as a part of what is allowed."
)


def info(width: int | None = None) -> str:
    """Versions, devices, backends, how "auto" decides and what it has decided here, time-outs of the kernels in this process.

    `width`: as for `table`.

    Raises:
        ValueError: an environment variable has a value that it cannot have.
    """
    return "\n".join(_lines(width))


def decision_table(decisions: Mapping[str, Decision], width: int | None = None) -> str:
    """Decisions by kind of call; `width` as for `table`."""
    columns = {"backend": "<", "kernels ms": ">", "torch ms": ">", "rows": "<", "error": ">", "took s": ">"}
    shown = table({**columns, "kind of call: why": "<"}, [_row(*one) for one in decisions.items()], width)
    return f"{shown}\n{LEGEND if width is None else textwrap.fill(LEGEND, width)}"


def verdict_table(verdicts: Mapping[str, Judged], width: int | None = None) -> str:
    """Verdicts on the kernels by kind of call; `width` as for `table`."""
    columns = {"verdict": "<", "error": ">", "kind of call: the result that is nearest to what is allowed": "<"}
    rows = [(one.verdict, _number(one.share, 2), f"{kind}: {one.text}") for kind, one in verdicts.items()]
    return table(columns, rows, width)


def devices() -> list[torch.device]:
    """The CUDA devices."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return [torch.device("cuda", index) for index in range(count)]


def _row(kind: str, found: Decision) -> Sequence[str]:
    rows = ""
    if found.backend == "triton":
        rows = "table" if found.rows == BY_TABLE else " ".join("table" if at < 0 else str(at) for at in found.rows)
    times = _number(found.ours_ms, 3), _number(found.torch_ms, 3)
    return (
        found.backend,
        *times,
        rows,
        _number(found.error, 2),
        _number(found.seconds or math.nan, 1),
        f"{kind}: {found.reason}",
    )


def _number(value: float, places: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{places}f}"


def _lines(width: int | None) -> Iterator[str]:
    machines = {device: machine_of(device) for device in devices()}
    here = machine_of(torch.device("cpu"))
    yield f"fusedrnn {here.fusedrnn}, kernels {here.sources}"
    yield f"torch {here.torch}, CUDA {torch.version.cuda or 'none'}, cuDNN {here.cudnn}, triton {here.triton}"
    yield f"Python {platform.python_version()}, {platform.platform()}"
    yield from (f"{name}={os.environ[name]}" for name in (*VARIABLES, "TRITON_INTERPRET") if name in os.environ)
    yield ""
    yield "Devices"
    for device, machine in machines.items():
        capability = f"compute capability {machine.capability[0]}.{machine.capability[1]}"
        yield f"  {device}: {machine.card}, {capability}, {machine.multiprocessors} multiprocessors"
        reason = unserved(machine.chip[0])
        yield f"    {_word(device) if reason is None else f'the kernels do not run here: {reason}'}"
    if not machines:
        yield "  no CUDA device"
    yield ""
    yield f"Backends; calls that name none use {requested(None)}"
    for name, why_not in available_backends().items():
        yield f"  {name}: {'available' if why_not is None else why_not}"
    yield ""
    yield f"Backend auto: mode {settings.mode()}, at most {settings.budget_left():g} s of measuring in a process"
    for machine in dict.fromkeys(machines.values()):
        yield from _kept(machine, width)
    if not machines:
        yield f"  decisions would be kept in {place(None)}; there is no CUDA device to decide for"


def _kept(machine: Machine, width: int | None) -> Iterator[str]:
    with messages() as told:
        files = store.load(machine)
    yield f"  {machine.card}: {place(machine)}"
    yield from (f"  {line}" for line in told)
    for kind, what in files.wrong.items():
        yield f"  the kernels are wrong on this card and are not used: {kind}: {what}"
    for kind, times in files.begun.items():
        given_up = "; `python -m fusedrnn tune --again` tries again" if times >= store.ATTEMPTS else ""
        yield f"  a measurement did not end, {times} of at most {store.ATTEMPTS} times: {kind}{given_up}"
    yield decision_table(files.decisions, width) if files.decisions else "  no decisions yet"


def place(machine: Machine | None) -> str:
    """The file of decisions of a machine, or their folder, or why there is none."""
    try:
        return str(store.folder() if machine is None else store.path_of(machine))
    except OSError as error:
        return f"nowhere: {error}"


def _word(device: torch.device) -> str:
    """What the kernels have reported in this process."""
    launch = sys.modules.get("fusedrnn.kernels.launch")
    word = None if launch is None else launch._error_words.get(device)
    if word is None:
        return "error word: no kernel has run in this process"
    return f"error word: {int(word.item())}, {'a program timed out' if word.item() else 'no program timed out'}"
