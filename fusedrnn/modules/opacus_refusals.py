"""Hooks that refuse calls for which Opacus would compute wrong per-sample gradients, see `modules.opacus`.

Their first argument, `owner`, is the object of Opacus whose hooks are on the module. Where it captures nothing, they do nothing.
"""

from __future__ import annotations

from functools import partial
from inspect import signature
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.nn.utils import parametrize
from torch.nn.utils.rnn import PackedSequence
from torch.utils._pytree import tree_map_only

from fusedrnn.validation import IDS

STATES = "a loss of the output alone, got one that depends on the states"


def refuse(module: Any, what: str) -> NoReturn:
    """Raise a RuntimeError: `what` was expected, and got."""
    name, theirs = type(module).__name__, f"opacus.layers.DP{module.mode.partition('_')[0]}"
    raise RuntimeError(
        f"{name} under Opacus: expected {what}; its per-sample gradients would be wrong. fusedrnn.restore_rnns, then "
        f"opacus.validators.ModuleValidator.fix replace it by {theirs}, which takes states, packed sequences and dropout"
    )


def before(owner: Any, module: Any, args: Any, kwargs: Any) -> Any:
    """Forward pre-hook: refuse all arguments but the input, and pass it by position, as Opacus expects."""
    if not _captures(owner, module):
        return None
    _check_module(owner, module)
    (_, input), *others = signature(module.forward).bind(*args, **kwargs).arguments.items()
    given = {name: value for name, value in others if value is not None}
    for name in given:
        if name != "return_all_states":
            refuse(module, f"the input alone, got {name}")
    if isinstance(input, PackedSequence):
        refuse(module, "a tensor, got a PackedSequence")
    if isinstance(input, Tensor) and input.dim() + (input.dtype in IDS) == 2:
        refuse(module, "batched input, got unbatched input")
    return (input,), given


def after(owner: Any, module: Any, args: Any, kwargs: Any, result: Any) -> Any:
    """Forward hook: mark the states, so that their gradients are refused."""
    if not _captures(owner, module):
        return None
    if len(args) != 1 or not kwargs.keys() <= {"return_all_states"}:
        refuse(module, "the input alone, got more from a forward pre-hook")
    output, *states = result
    return (output, *tree_map_only(Tensor, partial(_Guarded.apply, owner, module), states))


def backward(owner: Any, hook: Any, module: Any, grad_input: Any, grad_output: Any) -> Any:
    """Full backward hook: that of Opacus, `hook`, which needs a gradient of the output."""
    if owner.hooks_enabled and grad_output[0] is None:
        refuse(module, STATES)
    return hook(module, grad_input, grad_output)


def _captures(owner: Any, module: Any) -> bool:
    """Whether Opacus captures a call of `module` now."""
    if not owner.hooks_enabled or not module.training or not torch.is_grad_enabled():
        return False
    return any(parameter.requires_grad for parameter in module.parameters())


def _check_module(owner: Any, module: Any) -> None:
    """Refuse a module that does more, or something else, than its layers do on the input."""
    if module.forward.__module__.rpartition(".")[0] != __package__:
        refuse(module, f"the forward of a layer of fusedrnn, got that of {module.forward.__module__}")
    theirs = [h for h in module._forward_hooks.values() if h != owner.capture_activations_hook and not _is_ours(h)]
    if theirs:
        refuse(module, f"no forward hooks, which could change the output, got {theirs[0]}")
    for name in module._flat_weights_names:
        if name not in module._parameters and not parametrize.is_parametrized(module, name):
            refuse(module, f"weights that are parameters or parametrized, got {name}")
    if parametrize._cache_enabled and parametrize.is_parametrized(module):
        refuse(module, "no parametrize.cached(), got parametrized weights that are cached")
    for name in ("input_dropout", "weight_dropout", "dropout", "zoneout", "recurrent_dropout"):
        rate = getattr(module, name)
        if rate and not (name == "dropout" and module.num_layers == 1):
            refuse(module, f"no dropout inside, which would drop other elements the second time, got {name}={rate}")
    if bool(module.batch_first) != bool(owner.batch_first):
        refuse(module, f"batch_first={owner.batch_first}, as Opacus was told, got batch_first={module.batch_first}")


def _is_ours(hook: Any) -> bool:
    return getattr(hook, "func", None) is after


class _Guarded(torch.autograd.Function):
    """The identity, which raises a RuntimeError if it gets a gradient that is not zero."""

    @staticmethod
    def forward(ctx: Any, owner: Any, module: Any, state: Tensor) -> Tensor:
        ctx.owner, ctx.module = owner, module
        return state.view_as(state)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        if ctx.owner.hooks_enabled and gradient.any():
            refuse(ctx.module, STATES)
        return None, None, gradient
