"""Plain torch operators with a hand-derived backward, for "aten" and "auto" where torch's RNN cannot run the call or is slower."""

from __future__ import annotations

from fusedrnn.backends import triton
from fusedrnn.backends.stack import dropout_between, run_operators
from fusedrnn.call import Call, Result
from fusedrnn.operators.layer import operator_layer


def run(call: Call) -> Result:
    """Run `call` layer by layer."""
    layer = operator_layer("unrolled", call.spec.cell, keep_gates=call.spec.memory == "save")
    return run_operators(call, layer, dropout_between(call, triton.pointwise_engine(call.input)))
