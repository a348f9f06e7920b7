"""Plain torch operators with a backward derived by hand: what "aten" and "auto" run where torch's own RNN cannot or is slower."""

from __future__ import annotations

from fusedrnn.backends import triton
from fusedrnn.backends.stack import dropout_between, run_stack
from fusedrnn.call import Call, Result
from fusedrnn.operators.layer import operator_layer


def run(call: Call) -> Result:
    """Run `call` layer by layer."""
    layer = operator_layer("unrolled", call.spec.cell, keep_gates=call.spec.memory == "save")
    return run_stack(call, layer, dropout_between(call, triton.pointwise_engine(call.input)))


def run_copied(call: Call) -> Result:
    """As `run`, for calls that torch's RNN serves too: it lets users overwrite its output, which the backward here reads."""
    output, finals, every = run(call)
    return output.clone(), finals, every
