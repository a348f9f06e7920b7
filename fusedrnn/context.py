"""The state of torch around a call, beside its arguments: autocast, tracing, transforms, graph capture."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch._C._functorch import TransformType, get_interpreter_stack
from torch._subclasses.fake_tensor import is_fake
from torch.autograd import forward_ad
from torch.fx import Proxy


def autocast_dtype(device: torch.device) -> torch.dtype | None:
    """The dtype that autocast wants on `device`, or None where it is off."""
    kind = device.type
    if kind == "meta" or not torch.is_autocast_enabled(kind):  # meta has none; torch 2.11 cannot trace the question
        return None
    return torch.get_autocast_dtype(kind)


def transformed() -> bool:
    """Whether a transform of torch.func or forward-mode differentiation is active, which only plain operators support."""
    if torch.compiler.is_compiling():
        return False
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def differentiated_by_func() -> bool:
    """Whether a differentiating transform of torch.func, or forward mode, is active: custom operators have no rules for them.

    They have one for vmap, sample by sample, and need none for functionalize.
    """
    if torch.compiler.is_compiling():
        return False
    if forward_ad._current_level >= 0:
        return True
    if not torch._C._are_functorch_transforms_active():
        return False
    return any(level.key() in _DIFFERENTIATE for level in get_interpreter_stack() or ())


_DIFFERENTIATE = (TransformType.Grad, TransformType.Jvp)


def traced_as_leaf(module: nn.Module, input: Proxy, *more: Any, **options: Any) -> Any:
    """The node of `module` in the graph that torch.fx is tracing.

    Symbolic tracing keeps torch's own layers whole and enters all others, so ours make their node themselves.
    """
    tracer: Any = input.tracer
    given = {name: value for name, value in options.items() if value}
    return tracer.create_proxy("call_module", tracer.path_of_module(module), (input, *more), given)


def readable(tensor: Tensor) -> bool:
    """Whether Python may branch on the values of `tensor`: it has values, nothing is traced, no CUDA graph is captured."""
    if torch.compiler.is_compiling() or tensor.is_meta or tensor.numel() == 0:
        return False
    if torch._C._are_functorch_transforms_active() or is_fake(tensor):
        return False
    return not (tensor.is_cuda and torch.cuda.is_current_stream_capturing())
