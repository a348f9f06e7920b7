"""The reference as a backend: its loops over time, differentiated by autograd."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor

from fusedrnn.backends.stack import dropout_between, run_stack
from fusedrnn.call import Call, Result
from fusedrnn.reference.cells import SWEEPS
from fusedrnn.reference.stack import Layer, layer_of


def run(call: Call) -> Result:
    """Run `call` through the reference."""

    def layers(resets: Tensor | None) -> Callable[[int], Layer]:
        sweep = partial(SWEEPS[call.spec.cell], resets=resets, heads=call.spec.heads)
        return lambda depth: layer_of(sweep, noise=call.noise(depth))

    return run_stack(call, layers, dropout_between(call, "plain"))
