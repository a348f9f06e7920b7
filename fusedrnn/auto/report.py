"""The text of `python -m fusedrnn info`."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable, Iterator, Sequence

import torch

from fusedrnn.auto import settings, store
from fusedrnn.auto.decision import Decision
from fusedrnn.auto.machine import Machine, machine_of
from fusedrnn.backends.dispatch import available_backends


def info() -> str:
    """Versions, devices, backends, how "auto" decides and what it has decided here, time-outs of the kernels in this process."""
    return "\n".join(_lines())


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns of equal width, with a line under their names."""
    every = [list(columns), *(list(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*every, strict=True)]
    every.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in every
    )


def decision_table(decisions: dict[str, Decision]) -> str:
    """Decisions by kind of call."""

    def row(kind: str, d: Decision) -> Sequence[str]:
        rows = " ".join("table" if place < 0 else str(place) for place in d.rows) if d.backend == "triton" else ""
        return (
            kind,
            d.backend,
            f"{d.ours_ms:.3f}",
            f"{d.torch_ms:.3f}",
            rows,
            f"{d.error:.2f}",
            f"{d.seconds:.1f}",
            d.reason,
        )

    names = ("kind of call", "backend", "kernels, ms", "torch, ms", "rows", "error/allowed", "took, s", "why")
    return table(names, (row(kind, decision) for kind, decision in decisions.items()))


def _lines() -> Iterator[str]:
    machines = {device: machine_of(device) for device in devices()}
    here = machine_of(torch.device("cpu"))
    yield f"fusedrnn {here.fusedrnn} (kernels {here.sources}), torch {here.torch}, triton {here.triton}, cuDNN {here.cudnn}"
    yield f"Python {platform.python_version()}, {platform.platform()}"
    yield ""
    yield "Devices"
    for device, machine in machines.items():
        capability = f"compute capability {machine.capability[0]}.{machine.capability[1]}"
        yield f"  {device}: {machine.card}, {capability}, {machine.multiprocessors} multiprocessors; {_word(device)}"
    if not machines:
        yield "  no CUDA device"
    yield ""
    yield "Backends"
    for name, why_not in available_backends().items():
        yield f"  {name}: {'available' if why_not is None else why_not}"
    yield ""
    yield f'Backend "auto": mode {settings.mode()}, {settings.budget_left():.1f} s left for measuring in a process'
    for machine in dict.fromkeys(machines.values()):
        yield from _kept(machine)
    if not machines:
        yield f"  decisions are kept in {store.folder()}; there is no CUDA device to decide for"


def devices() -> list[torch.device]:
    """The CUDA devices."""
    return (
        [torch.device("cuda", index) for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    )


def _kept(machine: Machine) -> Iterator[str]:
    files = store.load(machine)
    yield f"  {machine.card}: {store.path_of(machine)}"
    if files.wrong is not None:
        yield f"  the kernels are wrong on this card and are not used: {files.wrong}"
    for kind, times in files.begun.items():
        yield f"  a measurement did not end, {times} of at most {store.ATTEMPTS} times: {kind}"
    if files.decisions:
        yield decision_table(files.decisions)
    else:
        yield "  no decisions yet"


def _word(device: torch.device) -> str:
    """What the kernels have reported in this process."""
    launch = sys.modules.get("fusedrnn.kernels.launch")
    word = None if launch is None else launch._error_words.get(device)
    if word is None:
        return "error word: no kernel has run in this process"
    return f"error word: {int(word.item())}, {'a program timed out' if word.item() else 'no program timed out'}"
