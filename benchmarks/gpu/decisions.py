"""What the backend "auto" decides here for the goals' shapes, by users' calls, beside the records of the same cases.

The decisions are kept in a folder beside the records, as files that the package could ship (`fusedrnn/auto/shipped`).
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import torch
from torch.nn.utils.rnn import pack_padded_sequence

from benchmarks.measuring.cases import Case
from benchmarks.measuring.peers import inputs, lengths, module
from benchmarks.measuring.records import Row
from fusedrnn.auto import known, settle, store
from fusedrnn.auto.decision import Decision
from fusedrnn.auto.kind import DTYPES, MOST_STEPS, Kind, rounded_up
from fusedrnn.auto.machine import machine_of
from fusedrnn.auto.settings import BUDGET_VARIABLE, FOLDER_VARIABLE, MODE_VARIABLE
from fusedrnn.precision import matmul_tf32, rnn_tf32


def key_of(case: Case) -> str:
    """Its name in the record."""
    return f"auto: {case.key}"


def kind_of(case: Case) -> Kind:
    """The kind of a case's call."""
    return Kind(
        cell=case.cell,
        dtype=DTYPES[case.torch_dtype],
        input_size=rounded_up(case.I),
        hidden_size=case.H,
        output_size=case.H,
        layers=case.L,
        directions=case.D,
        batch=rounded_up(case.B),
        steps=min(rounded_up(case.T), MOST_STEPS),
        training=case.passes == "training",
        layout="packed" if case.input == "packed" else "padded",
        dropout="",
        bias=True,
        projected=False,
        ids=case.input == "ids",
        all_states=False,
        recompute=False,
        tf32=case.dtype == "fp32" and rnn_tf32(),
        matmul_tf32=case.dtype == "fp32" and matmul_tf32(),
    )


def call(case: Case, device: torch.device) -> None:
    """A call of a module on the backend "auto"."""
    training = case.passes == "training"
    options = {"num_layers": case.L, "bidirectional": case.D == 2, "device": device, "dtype": case.torch_dtype}
    net = module(case.cell, case.I, case.H, "auto", **options).train(training)
    x = inputs(case, device)
    with torch.set_grad_enabled(training):
        net(pack_padded_sequence(x, lengths(case)) if case.input == "packed" else x)


@contextmanager
def measuring(folder: Path) -> Iterator[None]:
    """Within the block "auto" measures, for as long as it takes, knows nothing from before, and keeps its files in `folder`."""
    wanted = {MODE_VARIABLE: "measure", BUDGET_VARIABLE: "inf", FOLDER_VARIABLE: str(folder)}
    with mock.patch.dict(os.environ, wanted):
        known.forget()
        try:
            yield
        finally:
            known.forget()


def decide(
    case: Case, device_name: str, folder: Path, measured_ratio: float | None, torchs_s: float | None
) -> list[Row]:
    """One row: the decision, and the seconds in which a process that knows nothing finds it in its file.

    Of the same case by the records: `measured_ratio`, torch.nn's time over ours; `torchs_s`, seconds of torch.nn alone.
    """
    device = torch.empty(0, device=device_name).device  # with its index
    kind, row = kind_of(case), about(case)
    with measuring(folder):
        known_wrong = settle.wrong_on(device)
        if device.type == "cuda":
            call(case, device)
        found = settle.settle(kind, device)
        row |= columns(found)
        if "ratio" in row:
            row |= beside(row["ratio"], found.ours_ms, measured_ratio, torchs_s)
        if str(kind) not in store.load(machine_of(device)).decisions:
            failed = {"verdict": "failed"} if settle.wrong_on(device) != known_wrong else {}
            return [{**row, **failed, "error": found.reason}]
        known.forget()
        begun = time.monotonic()
        again = settle.settle(kind, device)
        row["lookup_s"] = round(time.monotonic() - begun, 6)
    if again.to_dict() != found.to_dict():
        row |= {"verdict": "failed", "error": f"expected the decision that was kept, got another: {again.reason}"}
    return [row]


def about(case: Case) -> Row:
    """What a row says of its case."""
    return {**case.columns(), "key": key_of(case), "peer": "auto", "kind": str(kind_of(case))}


def condemned(case: Case) -> list[Row]:
    """Its row if the measurement hangs or ends its process."""
    return [{**about(case), "verdict": "failed"}]


def columns(found: Decision) -> Row:
    """A decision as columns of a row, without what was not measured. `share`: of the error that is allowed."""
    told = {name: value for name, value in found.to_dict().items() if value is not None}
    if "error" in told:
        told["share"] = told.pop("error")
    return told | ({"ratio": told["torch_ms"] / told["ours_ms"]} if "ours_ms" in told else {})


def beside(ratio: float, ours_ms: float, measured_ratio: float | None, torchs_s: float | None) -> Row:
    """The ratio by the records, if they have one, and whether it says of the same side that it is the faster one."""
    if measured_ratio is not None:
        record, other = "gpu", measured_ratio
    elif torchs_s is not None:
        record, other = "baseline", torchs_s * 1e3 / ours_ms
    else:
        return {}
    return {"record": record, "record_ratio": other, "agrees": (ratio > 1) == (other > 1)}


def told(rows: list[Row]) -> str:
    """What came of all kinds of calls, in words."""
    decided = [row for row in rows if "lookup_s" in row]
    counts = {
        "decided": len(decided),
        "for the kernels": sum(row["backend"] == "triton" for row in decided),
        "at odds with the record": sum(row.get("agrees") is False for row in decided),
        "without a decision": len(rows) - len(decided),
    }
    took = sum(row.get("seconds", 0.0) for row in rows)
    return f"{', '.join(f'{count} {name}' for name, count in counts.items())}, {took:.1f} s of measuring"
