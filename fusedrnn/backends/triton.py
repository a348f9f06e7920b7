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
from fusedrnn.context import differentiated_by_func, recording
from fusedrnn.kernels.table import runnable, unserved
from fusedrnn.operators.layer import BY_TABLE, Extras, Rows, dropping_layer, operator_layer
from fusedrnn.operators.results import Dropout
from fusedrnn.precision import rnn_tf32
from fusedrnn.reference.stack import Between, Layer


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
    if call.has_extras and recording():
        return "expected torch.compile or torch.export, got torch.jit.trace, which cannot save the kernels' operator"
    reason = refuse_input(call.input)
    if reason is None and call.input.is_cuda:
        reason = _unserved(call.input.device)
        if reason is None and call.spec.layer_norm:
            reason = _too_wide(call)
    return reason


def refuse_input(input: Tensor) -> str | None:
    """Why the kernels cannot read `input`, or None if they can."""
    reason = missing()
    if reason is not None:
        return reason
    if input.is_cuda or (interpreted() and input.device.type in ("cpu", "meta")):
        return None if input.dtype not in (torch.complex64, torch.complex128) else "expected real numbers"
    return f"expected tensors on a CUDA device, got {input.device}"


def _too_wide(call: Call) -> str | None:
    """Why layer normalisation cannot run, or None if it can: the programs that share a sample's units must all run at once."""
    from fusedrnn.kernels.launch import capacity

    device, H = call.input.device, call.spec.hidden_size
    chip = (torch.cuda.get_device_capability(device), capacity(device))
    about = (call.spec.cell, call.weights.flat[0].dtype, H, *chip)
    if all(runnable(sweep, *about, tf32=rnn_tf32(), norm=True) for sweep in ("forward", "backward")):
        return None
    return (
        f"expected fewer units with layer_norm=True, so that the programs that have them all run at once, got hidden_size={H}; "
        "backends 'auto', 'aten' and 'reference' serve it"
    )


@cache
def _unserved(device: torch.device) -> str | None:
    """Why the sweeps cannot run on `device`, or None if they can."""
    return unserved(torch.cuda.get_device_capability(device))


def run(call: Call, rows: Rows = BY_TABLE) -> Result:
    """Run `call` with the kernels. The sweeps apply the dropout, except with a projection or a probability of 1."""
    spec, seeds = call.spec, call.seeds
    fused = seeds is not None and spec.dropout < 1 and not call.weights.projected
    passed: list[Between] = []

    def layer_at(depth: int, extras: Extras) -> Layer:
        options: dict[str, Any] = {"keep_gates": spec.memory == "save", "rows": rows, "extras": extras}
        if not fused or seeds is None or depth == spec.num_layers - 1:
            return operator_layer("triton", spec.cell, **options)
        drop = Dropout(seeds[depth : depth + 1], spec.dropout, spec.variational)
        layer, between = dropping_layer("triton", spec.cell, drop, **options)
        passed.append(between)
        return layer

    between = (lambda depth, output: passed[depth](depth, output)) if fused else dropout_between(call, "triton")
    return run_operators(call, layer_at, between)


def pointwise_engine(input: Tensor) -> str:
    """The faster engine for a pointwise operation on `input`, bit-identical on both: "triton" on a GPU, else "plain"."""
    return "triton" if input.is_cuda and missing() is None else "plain"


def interpreted() -> bool:
    """Whether kernels run in Triton's interpreter."""
    return os.environ.get("TRITON_INTERPRET") == "1"
