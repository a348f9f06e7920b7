"""The entry point of recurrent calls: check the call, add default states and dropout seeds, choose an engine, run it.

`rules.RULES` choose the engine: the first rule for the requested backend whose condition holds. A backend that is requested by name
but cannot run the call is an error, never a fallback.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fusedrnn import validation
from fusedrnn.backends import triton
from fusedrnn.backends.argument_dropout import drop_arguments
from fusedrnn.backends.choice import requested
from fusedrnn.backends.pointwise import refuse_for
from fusedrnn.backends.rules import (
    BY_NAME,
    ENGINES,
    NAMES,
    TORCH,
    TORCH_CELLS,
    Rule,
    beyond_torch,
    many_small_steps,
)
from fusedrnn.call import Call, Result
from fusedrnn.context import transformed
from fusedrnn.operators.dropout import seed_for


def decide(call: Call, backend: str | None) -> Rule:
    """The rule that applies to `call`.

    Raises:
        ValueError: the backend does not exist.
        BackendUnavailableError: the requested backend cannot run `call`.
    """
    for rule in BY_NAME[requested(backend)]:
        if rule.when(call):
            break
    if rule.engine == "triton":
        refuse_for(triton.refuse(call))
    return rule


def run(call: Call, backend: str | None) -> Result:
    """Run `call` on the requested backend.

    Raises:
        The errors of `decide`, and those of `validation.check_call` for invalid arguments.
    """
    if call.training and (call.spec.input_dropout or call.spec.weight_dropout):
        call = drop_arguments(call, backend)
    if plain(call, backend):
        return ENGINES["torch"](call)
    validation.check_call(call)
    spec = call.spec
    if not call.states:
        call = call._replace(states=call.zeros())
    if call.training and spec.dropout > 0 and spec.num_layers > 1:
        call = call._replace(seeds=seed_for(spec.dropout, call.input.device, spec.num_layers - 1))
    return ENGINES[decide(call, backend).engine](call)


def plain(call: Call, backend: str | None) -> bool:
    """Whether torch's RNN runs a valid call on a CPU: a fast path that replaces `check_call` and `RULES` for common calls.

    Small calls take some ten microseconds; separate checks and rules would add a third.
    """
    spec, weights, input, states = call.spec, call.weights, call.input, call.states
    weight, dtype = weights.flat[0], input.dtype
    if type(input) is not Tensor or dtype != weight.dtype or not input.is_cpu or not weight.is_cpu:
        return False
    if (
        torch.compiler.is_compiling()
        or beyond_torch(call)
        or call.lengths is not None
        or (call.training and spec.dropout)
    ):
        return False
    sizes = input.shape
    if len(sizes) != (3 if call.batch_sizes is None else 2) or sizes[-1] != spec.input_size or call.steps < 1:
        return False
    if not weights.fit(spec):
        return False
    if states:
        for state, shape in zip(states, spec.state_shapes(call.batch), strict=True):
            if state.shape != shape or state.dtype != dtype or not state.is_cpu:
                return False
    if torch.is_grad_enabled() and many_small_steps(call):
        return False
    return not transformed() and requested(backend) in TORCH


def available_backends() -> dict[str, str | None]:
    """All backends by name, each with the reason why it cannot run here, or None if it can."""
    return {name: triton.missing() if name == "triton" else None for name in NAMES}


def torch_has_step(cell: str, backend: str | None) -> bool:
    """Whether one step of `cell` with floating-point input is run by torch's own cell."""
    return cell in TORCH_CELLS and requested(backend) in TORCH and not transformed()
