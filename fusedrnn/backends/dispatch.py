"""The entry point of recurrent calls: check the call, add default states and dropout seeds, choose an engine, run it.

`rules.RULES` choose the engine: the first rule for the requested backend whose condition holds. A backend that is requested by name
but cannot run the call is an error, never a fallback.
"""

from __future__ import annotations

from fusedrnn import validation
from fusedrnn.backends import triton
from fusedrnn.backends.argument_dropout import drop_arguments
from fusedrnn.backends.autocast import with_dtypes
from fusedrnn.backends.choice import requested
from fusedrnn.backends.pointwise import refuse_for, torch_masks
from fusedrnn.backends.rules import BY_NAME, ENGINES, NAMES, TORCH, TORCH_CELLS, Rule
from fusedrnn.call import Call, Result
from fusedrnn.context import transformed
from fusedrnn.operators.dropout import seed_for
from fusedrnn.option_checks import check_extras
from fusedrnn.types import Backend


def decide(call: Call, backend: Backend | None) -> Rule:
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


def run(call: Call, backend: Backend | None, *, step: bool = False) -> Result:
    """Run `call` on the requested backend. `step`: it is the call of a cell, not of a layer.

    Raises:
        The errors of `decide`, and those of `validation.check_call` for invalid arguments.
    """
    if call.training and (any(call.spec.zoneout) or call.spec.recurrent_dropout):
        check_extras(call.spec, projected=call.weights.projected)
        # drawn before other masks, which are not the same on every backend
        call = call._replace(noise_seeds=seed_for(0.0, call.input.device, call.spec.num_layers))
    if call.training and (call.spec.input_dropout or call.spec.weight_dropout):
        call = drop_arguments(call, backend)
    validation.check_call(call)
    spec = call.spec
    if not call.states:
        call = call._replace(states=call.zeros())
    if call.drops and not torch_masks(backend, call.input):
        call = call._replace(seeds=seed_for(spec.dropout, call.input.device, spec.num_layers - 1))
    return with_dtypes(call, ENGINES[decide(call, backend).engine](call), step=step)


def available_backends() -> dict[Backend, str | None]:
    """All backends that can be named, apart from "auto", and why they cannot run here.

    Returns:
        For each the reason why it cannot run here, or None if it can.

    Example:
        >>> from fusedrnn import available_backends
        >>> list(available_backends())
        ['reference', 'aten', 'triton']
        >>> print(available_backends()["reference"])
        None
    """
    return {name: triton.missing() if name == "triton" else None for name in NAMES}


def left_to_torch(cell: str, backend: str | None, eager: bool = False) -> bool:
    """Whether the backend for `cell` is torch's function; `eager` as for `requested`.

    For modules that call it without `run` on a CPU. Whether it can run their input, and does best, they have to know.
    """
    return cell in TORCH_CELLS and requested(backend, eager) in TORCH and not transformed()
