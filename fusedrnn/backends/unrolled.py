"""Plain torch operators with a hand-derived backward, for "aten" and "auto" where torch's RNN cannot run the call or is slower."""

from __future__ import annotations

from fusedrnn.backends import triton
from fusedrnn.backends.stack import dropout_between, run_operators
from fusedrnn.call import Call, Result
from fusedrnn.operators.layer import Extras, operator_layer
from fusedrnn.reference.stack import Layer


def run(call: Call) -> Result:
    """Run `call` layer by layer."""
    spec = call.spec

    def layer_at(_: int, extras: Extras) -> Layer:
        return operator_layer("unrolled", spec.cell, keep_gates=spec.memory == "save", extras=extras)

    return run_operators(call, layer_at, dropout_between(call, triton.pointwise_engine(call.input)))
