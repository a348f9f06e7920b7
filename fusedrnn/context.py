"""PyTorch state that affects a call besides its arguments: autocast, tracing, function transforms, CUDA graph capture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch._C._functorch import TransformType, get_interpreter_stack
from torch._subclasses.fake_tensor import is_fake
from torch.autograd import forward_ad
from torch.fx import Proxy


def autocast_dtype(device: torch.device) -> torch.dtype | None:
    """The dtype that autocast uses on `device`, or None if autocast is off."""
    kind = device.type
    if kind == "meta" or (kind not in ("cpu", "cuda") and not torch.amp.is_autocast_available(kind)):
        return None  # asking whether it is enabled there raises an error
    if not torch.is_autocast_enabled(kind):
        return None
    return torch.get_autocast_dtype(kind)


def transformed() -> bool:
    """Whether a torch.func transform or forward-mode AD is active. Only plain PyTorch operators support these."""
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def differentiated_by_func() -> bool:
    """Whether a differentiating torch.func transform or forward-mode AD is active. Custom operators have no rules for these.

    Custom operators support vmap, which runs them sample by sample, and need no rule for functionalize. torch.compile cannot trace
    the question which transform is active: there only forward mode is seen, and for the others torch raises an error.
    """
    if forward_ad._current_level >= 0:
        return True
    if torch.compiler.is_compiling() or not torch._C._are_functorch_transforms_active():
        return False
    return any(level.key() in _DIFFERENTIATE for level in get_interpreter_stack() or ())


_DIFFERENTIATE = (TransformType.Grad, TransformType.Jvp)


def recording() -> bool:
    """Whether `torch.jit.trace` records, also for the older exporter to ONNX. Sizes must not become numbers then."""
    return torch._C._get_tracing_state() is not None


def unrecorded(check: Callable[..., None], *args: Any) -> None:
    """Call `check`, for which sizes are numbers also while `torch.jit.trace` records: nothing of it is recorded."""
    state = torch._C._get_tracing_state()
    if state is None:
        check(*args)
        return
    tracer: Any = torch._C
    tracer._set_tracing_state(None)
    try:
        check(*args)
    finally:
        tracer._set_tracing_state(state)


def exporting_onnx() -> bool:
    """Whether `torch.onnx.export` is tracing, with either of its exporters."""
    return (torch.compiler.is_compiling() or recording()) and torch.onnx.is_in_onnx_export()


def traced_as_leaf(module: nn.Module, input: Proxy, *more: Any, **options: Any) -> Any:
    """Add a call of `module` to the graph that torch.fx is tracing and return its node, a `Proxy`.

    Symbolic tracing treats torch.nn's modules as leaves and traces into all others, so ours create their node themselves.
    """
    own = type(module).forward.__module__.split(".")[0] != "fusedrnn"
    if own or module._forward_hooks or module._forward_pre_hooks:
        raise RuntimeError(
            f"torch.fx: expected no hooks on {type(module).__name__} and no forward of its own, which would run twice; trace with "
            "a Tracer whose is_leaf_module is true for it"
        )
    tracer: Any = input.tracer
    given = {name: value for name, value in options.items() if value is not None and value is not False}
    return tracer.create_proxy("call_module", tracer.path_of_module(module), (input, *more), given)


def traced_as_call(function: Callable[..., Tensor], input: Proxy, *more: Any, **options: Any) -> Any:
    """Add a call of `function` to the graph that torch.fx is tracing and return its node, a `Proxy`."""
    tracer: Any = input.tracer
    return tracer.create_proxy("call_function", function, (input, *more), options)


def readable(tensor: Tensor) -> bool:
    """Whether Python can read the values of `tensor`: it has data, and no tracing, torch.func or CUDA graph capture is active."""
    if torch.compiler.is_compiling() or tensor.is_meta or tensor.numel() == 0:
        return False
    if torch._C._are_functorch_transforms_active() or is_fake(tensor):
        return False
    return not (tensor.is_cuda and torch.cuda.is_current_stream_capturing())
