"""The Triton kernels as a backend."""

from __future__ import annotations

import importlib.util
import os
from functools import cache
from typing import Any

import torch
from torch import Tensor

from fusedrnn.backends.stack import dropout_between, run_operators
from fusedrnn.call import Call, Result
from fusedrnn.context import differentiated_by_func, readable, recording
from fusedrnn.kernels.table import unserved
from fusedrnn.operators.layer import BY_TABLE, Rows, dropping_layer, operator_layer


def missing() -> str | None:
    """Why the kernels cannot run at all, or None if they can."""
    if importlib.util.find_spec("triton") is None:
        return "expected the package triton, got none installed"
    if not interpreted() and not torch.cuda.is_available():
        return "expected a CUDA device, got none (TRITON_INTERPRET=1 runs the kernels on a CPU, slowly)"
    return None


def refuse(call: Call) -> str | None:
    """Why the kernels cannot run `call`, or None if they can."""
    if differentiated_by_func():
        return (
            "expected plain autograd, got a transform of torch.func or forward mode, for which the kernels have no derivatives; "
            "backends 'auto', 'aten' and 'reference' serve it"
        )
    if call.resets is not None and not may_read(call.resets):
        return "expected resets=None while traced, for the pieces between resets have sizes that depend on values"
    reason = refuse_input(call.input)
    return _unserved(call.input.device) if reason is None and call.input.is_cuda else reason


def may_read(values: Tensor) -> bool:
    """Whether sizes may depend on `values`: they are real, and nothing is traced."""
    if torch.compiler.is_compiling() or recording():
        return False
    return values.numel() == 0 or readable(values)


def refuse_input(input: Tensor) -> str | None:
    """Why the kernels cannot read `input`, or None if they can."""
    reason = missing()
    if reason is not None:
        return reason
    if input.is_cuda or (interpreted() and input.device.type in ("cpu", "meta")):
        return None if input.dtype not in (torch.complex64, torch.complex128) else "expected real numbers"
    return f"expected tensors on a CUDA device, got {input.device}"


@cache
def _unserved(device: torch.device) -> str | None:
    """Why the sweeps cannot run on `device`, or None if they can."""
    return unserved(torch.cuda.get_device_capability(device))


def run(call: Call, rows: Rows = BY_TABLE) -> Result:
    """Run `call` with the kernels. The sweeps apply the dropout, except with resets, a projection or a probability of 1."""
    spec, seeds, keep = call.spec, call.seeds, call.spec.memory == "save"
    if seeds is None or call.resets is not None or spec.dropout == 1 or call.weights.projected:
        layer = operator_layer("triton", spec.cell, keep_gates=keep, rows=rows)
        return run_operators(call, layer, dropout_between(call, "triton"))
    options: dict[str, Any] = {"shared": spec.variational, "keep_gates": keep, "rows": rows}
    dropping = dropping_layer("triton", spec.cell, spec.dropout, seeds, **options)
    return run_operators(call, *dropping)


def pointwise_engine(input: Tensor) -> str:
    """The faster engine for a pointwise operation on `input`, bit-identical on both: "triton" on a GPU, else "plain"."""
    return "triton" if input.is_cuda and missing() is None else "plain"


def interpreted() -> bool:
    """Whether kernels run in Triton's interpreter."""
    return os.environ.get("TRITON_INTERPRET") == "1"
