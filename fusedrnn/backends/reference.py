"""The reference as a backend: its loops over time, differentiated by autograd."""

from __future__ import annotations

from fusedrnn.backends.stack import dropout_between, run_stack
from fusedrnn.call import Call, Result
from fusedrnn.reference.cells import SWEEPS
from fusedrnn.reference.stack import layer_of


def run(call: Call) -> Result:
    """Run `call` through the reference."""
    return run_stack(call, layer_of(SWEEPS[call.spec.cell]), dropout_between(call, "plain"))
