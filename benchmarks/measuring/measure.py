"""Measure a case: one row a peer, and a row that says why where a peer could not be measured. Nothing raises."""

import traceback
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.measuring import dropout, first_call, footprint, lyrics
from benchmarks.measuring.cases import Case
from benchmarks.measuring.environment import gpu_of
from benchmarks.measuring.floor import call_s
from benchmarks.measuring.options import Options
from benchmarks.measuring.peers import BASE, TOLERANCE, Peer, error, ours_backend, peers
from benchmarks.measuring.published import figures_for
from benchmarks.measuring.records import Row
from benchmarks.measuring.timing import timed_rows
from fusedrnn.backends.cudnn import path
from fusedrnn.kernels.table import choose


def measure(case: Case, device: torch.device, options: Options) -> list[Row]:
    """The rows of a case; an exception becomes a row with `error`."""
    kinds: dict[str, Callable[[Case, torch.device, Options], list[Row]]] = {
        "time": _times, "memory": footprint.memory, "launches": footprint.launches, "lyrics": lyrics.epochs,
        "first call": first_call.first_calls, "dropout": dropout.times,
    }  # fmt: skip
    try:
        rows = kinds[case.quantity](case, device, options)
    except Exception as failure:
        where = traceback.extract_tb(failure.__traceback__)[-1]
        rows = [{"peer": "all", "error": f"{type(failure).__name__}: {failure} ({where.name}, line {where.lineno})"}]
    return [{**case.columns(), **row} for row in rows]


def _times(case: Case, device: torch.device, options: Options) -> list[Row]:
    """Parity first, then paired times of the peers that passed."""
    candidates = peers(case, device, compiled=options.compiled)
    if not options.reference and BASE in candidates:
        del candidates["reference"]
    right, rows = _sorted_by_parity(case, candidates)
    timed = timed_rows(
        {n: p.call for n, p in right.items()}, device, BASE, rounds=options.rounds, warmup=options.warmup
    )
    facts = model_columns(case, device)
    for row in timed:
        if facts.get("floor_s"):
            row["over_floor"] = row["median_s"] / facts["floor_s"]
    return rows + [row | facts for row in timed]


def _sorted_by_parity(case: Case, candidates: dict[str, Peer]) -> tuple[dict[str, Peer], list[Row]]:
    """The peers whose results are those of torch.nn (the reference where torch has none), and a row for each whose are not."""
    right, limit = set(), TOLERANCE[case.dtype]
    rows: list[Row] = []
    expected = None
    for name in sorted(candidates, key=lambda name: (name != BASE, name != "reference")):
        try:
            got = candidates[name].results()
            expected = got if expected is None else expected
            found = error(got, expected)
        except Exception as failure:
            rows.append({"peer": name, "error": f"{type(failure).__name__}: {failure}"})
            continue
        if found <= limit:
            right.add(name)
        else:
            why = f"wrong result: expected a relative error up to {limit:g}, got {found:.3g}"
            rows.append({"peer": name, "error": why})
    return {name: peer for name, peer in candidates.items() if name in right}, rows


def model_columns(case: Case, device: torch.device) -> dict[str, Any]:
    """What is known of a case beside its time: the cuDNN path, our launch rows, the floor, published figures. On a CPU, nothing."""
    columns: dict[str, Any] = {"backend": ours_backend(device)}
    capability, sms, chip = gpu_of(device)
    if capability is None:
        return columns
    columns["cudnn_path"] = [path(case.layer, capability, sms, sweep) for sweep in case.sweeps]
    rows = [choose(s, case.cell, case.torch_dtype, case.H, case.B, case.D, capability, sms) for s in case.sweeps]
    columns["launch_rows"] = [[r.units, r.samples, r.depth, r.chunks, r.weights, r.warps, r.group] for r in rows]
    floors = [] if chip is None else [call_s(chip, sweep, case.layer) for sweep in case.sweeps]
    columns["floor_s"] = sum(f for f in floors if f is not None) if floors and None not in floors else None
    if case.L == case.D == 1:
        figures = figures_for(case.cell, case.torch_dtype, case.T, case.B, case.H, capability)
        kind = "forward_ms" if case.passes == "forward" else "training_ms"
        columns["published_ms"] = {figure.implementation: getattr(figure, kind) for figure in figures}
    return columns
