"""Per-sample gradients for private training with Opacus: right, or refused. Opacus is not imported.

Opacus registers two hooks on a module. One keeps its inputs, one takes the gradient of its first output, and from the first input
and this gradient Opacus computes the gradients of every sample. It does not see what else a call depends on, nor the gradients of
the final states. So a module on which these hooks are registered gets a function that computes its per-sample gradients, and hooks
that refuse such calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.utils.rnn import PackedSequence
from torch.utils._pytree import tree_map_only

from fusedrnn.backends import dispatch
from fusedrnn.call import Call, Weights


def owner_of(hook: Any) -> Any:
    """The object of Opacus that `hook` is a method of; None for all other hooks."""
    owner = getattr(getattr(hook, "func", hook), "__self__", None)
    return owner if any(base.__module__.partition(".")[0] == "opacus" for base in type(owner).__mro__) else None


class Handles:
    """Removes all hooks that belong to one of Opacus's."""

    def __init__(self, *handles: Any) -> None:
        self.handles = handles

    def remove(self) -> None:
        """Remove them."""
        for handle in self.handles:
            handle.remove()


def register(module: Any, hook: Any, owner: Any, prepend: bool) -> Handles:
    """Register Opacus's backward `hook` on a FusedRNNBase, with all that makes its gradients right."""
    module.ft_compute_sample_grad = partial(per_sample_gradients, module)  # the name by which Opacus looks it up
    return Handles(
        module.register_forward_pre_hook(partial(_input_alone, owner), with_kwargs=True),
        module.register_forward_hook(partial(_guarded_states, owner)),
        nn.Module.register_full_backward_hook(module, partial(_with_output_gradient, owner, hook), prepend),
    )


def per_sample_gradients(
    module: Any, parameters: Sequence[Tensor], inputs: Tensor, gradients: Tensor
) -> tuple[Tensor, ...]:
    """The gradient of every parameter for every sample, each (B, *), computed by the reference.

    Args:
        module: a FusedRNNBase.
        parameters: all its parameters, in its order.
        inputs: (B, T, I), or token ids (B, T).
        gradients: gradients of the outputs, (B, T, D*P); under autocast of its dtype.
    """
    names = [f"rnn.{name}" for name, _ in module.named_parameters()]
    run = _OneSample(module)

    def product(values: Sequence[Tensor], input: Tensor, gradient: Tensor) -> Tensor:
        output: Tensor = functional_call(run, dict(zip(names, values, strict=True)), (input,))
        return (output * gradient).sum()

    dtype = gradients.dtype
    with torch.autocast(gradients.device.type, dtype, enabled=dtype != parameters[0].dtype):
        found: tuple[Tensor, ...] = vmap(grad(product), in_dims=(None, 0, 0))(tuple(parameters), inputs, gradients)
    return found


class _OneSample(nn.Module):
    """The layers of a FusedRNNBase, without its hooks, on one sample: the output (T, D*P) of (T, I) or ids (T,)."""

    def __init__(self, rnn: Any) -> None:
        super().__init__()
        self.rnn = rnn

    def forward(self, input: Tensor) -> Tensor:
        """Run them by the reference, which torch.func differentiates."""
        rnn, spec = self.rnn, self.rnn._spec()
        weights = Weights(rnn._flat_weights, spec.directions, bias=bool(rnn.bias), projected=rnn.proj_size > 0)
        output, _, _ = dispatch.run(Call(spec, weights, input.unsqueeze(1)), "reference")
        return output.squeeze(1)


def _captures(owner: Any, module: nn.Module) -> bool:
    """Whether Opacus captures a call of `module` now."""
    if not owner.hooks_enabled or not module.training or not torch.is_grad_enabled():
        return False
    return any(parameter.requires_grad for parameter in module.parameters())


def _input_alone(owner: Any, module: Any, args: Any, kwargs: Any) -> Any:
    """Refuse arguments that Opacus would not see; give it the input as the only positional argument."""
    if not _captures(owner, module):
        return None
    (_, input), *others = signature(module.forward).bind(*args, **kwargs).arguments.items()
    others = [(name, value) for name, value in others if value is not None]
    for name, _ in others:
        if name != "return_all_states":
            _refuse(module, f"the input alone, got {name}")
    if isinstance(input, PackedSequence):
        _refuse(module, "a tensor, got a PackedSequence")
    for name in ("input_dropout", "weight_dropout", "dropout"):
        rate = getattr(module, name)
        if rate and not (name == "dropout" and module.num_layers == 1):
            _refuse(module, f"no dropout inside, which would drop other elements the second time, got {name}={rate}")
    if bool(module.batch_first) != bool(owner.batch_first):
        _refuse(module, f"batch_first={owner.batch_first}, as Opacus was told, got batch_first={module.batch_first}")
    if isinstance(input, Tensor) and input.dim() + (input.dtype == torch.int64) == 2:
        _refuse(module, "batched input, got unbatched input")
    return (input,), dict(others)


def _guarded_states(owner: Any, module: Any, args: Any, result: Any) -> Any:
    """Refuse gradients of every result but the first."""
    if not _captures(owner, module):
        return None
    output, *others = result
    guarded = partial(_Guarded.apply, owner, module)  # type: ignore[no-untyped-call]
    return (output, *tree_map_only(Tensor, guarded, others))


class _Guarded(torch.autograd.Function):
    """The identity, which raises a RuntimeError if it gets a gradient that is not zero."""

    @staticmethod
    def forward(ctx: Any, owner: Any, module: Any, state: Tensor) -> Tensor:
        ctx.owner, ctx.module = owner, module
        return state.view_as(state)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        if ctx.owner.hooks_enabled and gradient.any():
            _refuse(ctx.module, "a loss of the output alone, got one that depends on the states")
        return None, None, gradient


def _with_output_gradient(owner: Any, hook: Any, module: Any, grad_input: Any, grad_output: Any) -> Any:
    """Opacus's hook, which needs a gradient of the output."""
    if owner.hooks_enabled and grad_output[0] is None:
        _refuse(module, "a loss of the output alone, got one that depends on the states")
    return hook(module, grad_input, grad_output)


def _refuse(module: Any, what: str) -> None:
    name = type(module).__name__
    raise RuntimeError(
        f"{name} under Opacus: expected {what}; its per-sample gradients would be wrong. fusedrnn.restore_rnns, then "
        f"opacus.validators.ModuleValidator.fix replace it by opacus.layers.DP{module.mode}, which takes states, packed sequences and dropout"
    )


def refuse_cell(module: nn.Module, hook: Any) -> None:
    """Raise a RuntimeError if `hook` is Opacus's: it does not see the states that the gradients of a cell depend on."""
    if owner_of(hook) is not None:
        name = type(module).__name__
        raise RuntimeError(
            f"{name} under Opacus: expected a layer, got a cell; Opacus does not see its states, so that its per-sample "
            f"gradients would be wrong. Use {name.removesuffix('Cell')}"
        )
