"""The reference as a backend: its loops over time, differentiated by autograd."""

from __future__ import annotations

from fusedrnn.backends.stack import dropout_between, run_stack
from fusedrnn.call import Call, Result
from fusedrnn.reference.cells import SWEEPS
from fusedrnn.reference.stack import layer_of


def run(call: Call) -> Result:
    """Run `call` through the reference."""
    sweep = SWEEPS[call.spec.cell]
    between = dropout_between(call, "plain")
    return run_stack(call, layer_of(sweep), between, lambda layer, resets: layer_of(sweep, resets))
