"""Dropout of a call's arguments: `input_dropout` and `weight_dropout`, before any backend sees the call."""

from __future__ import annotations

from fusedrnn.call import Call
from fusedrnn.dropout import dropout
from fusedrnn.operators.packing import pack, unpack
from fusedrnn.types import Backend


def drop_arguments(call: Call, backend: Backend | None) -> Call:
    """`call` after the dropout of its input, then of its recurrent weights; none of the two is left to do."""
    spec, input, weights = call.spec, call.input, call.weights
    if spec.input_dropout:
        if not input.is_floating_point():
            raise RuntimeError(f"input_dropout: expected floating-point input, got {input.dtype}")
        places = None
        if call.batch_sizes is not None:  # padded, so that the mask is that of padded input
            input, _, places = unpack(input, call.batch_sizes, call.batch)
        input = dropout(input, spec.input_dropout, shared_dims=spec.shared_dims, backend=backend)
        input = input if places is None else pack(input, places)
    if spec.weight_dropout:
        weights = weights.with_recurrent(lambda w: dropout(w, spec.weight_dropout, backend=backend))
    return call._replace(spec=spec._replace(input_dropout=0.0, weight_dropout=0.0), input=input, weights=weights)
