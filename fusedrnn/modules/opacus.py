"""Per-sample gradients for private training with Opacus: right, or refused. Opacus is not imported.

Opacus registers two hooks on a module. One keeps its inputs, one takes the gradient of its first output, and from the first input
and this gradient Opacus computes the gradients of every sample. So a module on which these hooks are registered gets a function
that computes its per-sample gradients, and hooks that refuse calls which depend on more (`modules.opacus_refusals`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from fusedrnn.backends import dispatch
from fusedrnn.call import Call
from fusedrnn.modules import opacus_refusals as refusals
from fusedrnn.validation import as_ids


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
        module.register_forward_pre_hook(partial(refusals.before, owner), with_kwargs=True),
        module.register_forward_hook(partial(refusals.after, owner), prepend=True, with_kwargs=True),
        nn.Module.register_full_backward_hook(module, partial(refusals.backward, owner, hook), prepend),
    )


def refuse_cell(module: nn.Module, hook: Any) -> None:
    """Raise a RuntimeError if `hook` is Opacus's: it does not see the states that the gradients of a cell depend on."""
    if owner_of(hook) is not None:
        name = type(module).__name__
        raise RuntimeError(
            f"{name} under Opacus: expected a layer, got a cell; Opacus does not see its states, so that its per-sample "
            f"gradients would be wrong. Use {name.removesuffix('Cell')}"
        )


def per_sample_gradients(
    module: Any, parameters: Sequence[Tensor], inputs: Tensor, gradients: Tensor
) -> tuple[Tensor, ...]:
    """The gradient of every parameter for every sample, each (B, *), computed by the reference.

    Args:
        module: a FusedRNNBase.
        parameters: all its parameters, in its order.
        inputs: (B, T, I), or token ids (B, T).
        gradients: gradients of the outputs, (B, T, D*P). If their dtype is not that of the parameters, the forward was under
            autocast with it, and so is the computation.
    """
    names = [f"rnn.{name}" for name, _ in module.named_parameters()]
    run = _OneSample(module)

    def product(values: Sequence[Tensor], input: Tensor, gradient: Tensor) -> Tensor:
        output: Tensor = functional_call(run, dict(zip(names, values, strict=True)), (input,))
        return (output * gradient).sum()

    dtype = gradients.dtype
    with torch.autocast(gradients.device.type, dtype, enabled=dtype != parameters[0].dtype):
        found: tuple[Tensor, ...] = vmap(grad(product), in_dims=(None, 0, 0))(
            tuple(parameters), as_ids(inputs, 3), gradients
        )
    return found


class _OneSample(nn.Module):
    """The layers of a FusedRNNBase, without its hooks, on one sample: the output (T, D*P) of (T, I) or ids (T,)."""

    def __init__(self, rnn: Any) -> None:
        super().__init__()
        self.rnn = rnn

    def forward(self, input: Tensor) -> Tensor:
        """Run them by the reference, which torch.func differentiates."""
        output, _, _ = dispatch.run(Call(self.rnn._spec(), self.rnn._weights(), input.unsqueeze(1)), "reference")
        return output.squeeze(1)
