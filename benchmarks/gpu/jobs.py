"""What the worker's process runs: the first thing in a new one, and one case each of what is measured."""

from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.waiting import late_error
from benchmarks.machine_code.absent import listen
from benchmarks.measuring.cases import Case
from benchmarks.measuring.measure import measure, model_columns
from benchmarks.measuring.options import Options
from benchmarks.measuring.peers import BASE, Peer, peers
from benchmarks.measuring.records import Row
from benchmarks.measuring.timing import clock_for, paired, time_columns

BUDGET_S = 0.3  # of device time that the rounds of one peer may take; slow cases are measured in fewer rounds
FEWEST, MOST = 5, 15  # rounds

_compiled: list[str] = []


def ready(device: str) -> None:
    """Initialise the device and its libraries, and count the kernels that are compiled from here on."""
    torch.set_num_threads(1)
    layer = torch.nn.GRU(8, 8, device=device)
    layer(torch.zeros(1, 1, 8, device=device))[0].sum().backward()
    if device != "cpu":
        torch.cuda.synchronize()
    listen(lambda source, cached: None if cached else _compiled.append(source.name))


def counted(module: str, function: str, arguments: tuple[Any, ...]) -> list[Row]:
    """Run a job, to the end of what it has launched, and say in its rows how many kernels had to be compiled for it, if any."""
    _compiled.clear()
    device = torch.device("cuda" if torch.cuda.is_initialized() else "cpu")
    try:
        rows: list[Row] = getattr(import_module(module), function)(*arguments)
    finally:
        late = late_error(device)
    if late is not None:
        rows = [row if row.get("peer") == BASE else {**row, "error": row.get("error", late)} for row in rows]
    return [{**row, "compiled": len(_compiled)} if _compiled else row for row in rows]


def draw(folder: Path) -> None:
    """Plots of the timed records in a folder."""
    from benchmarks.measuring.plots import plot, records

    plot(records(folder), folder)


def rounds_for(seconds: float) -> int:
    """How many rounds of a call of `seconds` fit into the budget."""
    return max(FEWEST, min(MOST, int(BUDGET_S / max(seconds, 1e-9))))


def baseline(case: Case, device_name: str, tiny: bool) -> list[Row]:
    """torch.nn alone: its time, and the algorithm that torch asks for. One row."""
    device = torch.device(device_name)
    peer: Peer = peers(case, device)[BASE]
    clock = clock_for(device)
    clock.sample(peer.call)
    rounds = 1 if tiny else rounds_for(clock.sample(peer.call))
    samples = paired({BASE: peer.call}, clock, rounds=rounds, warmup=0)[BASE]
    facts = model_columns(case, device)
    return [{**case.columns(), "peer": BASE, **time_columns(samples), "clock": clock.name, **facts}]


def beside(case: Case, device_name: str, seconds: float | None, reference: bool) -> list[Row]:
    """Every peer of a case in interleaved rounds; `seconds`: of torch.nn, where known, which decides how many rounds."""
    rounds = 1 if seconds == 0 else MOST if seconds is None else rounds_for(seconds)
    options = Options(rounds, 0 if seconds == 0 else 2, reference=reference, profile=False)  # a later phase profiles
    return measure(case, torch.device(device_name), options)
