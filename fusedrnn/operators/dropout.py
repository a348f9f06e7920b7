"""Dropout as torch operators, with shapes for tracing, derivatives of every order, and vmap.

`fusedrnn::dropout` is linear and elementwise, so its backward is the same operator with the same seed, and only the seed is saved.
`fusedrnn::bias_relu_dropout` saves its output: where it is zero, so is the gradient. The Triton kernels are imported on first
use.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import is_fake

from fusedrnn.context import transformed
from fusedrnn.reference import counter_dropout as plain


def _triton() -> Any:
    from fusedrnn.kernels import pointwise

    return pointwise


@torch.library.custom_op("fusedrnn::dropout", mutates_args=())
def dropout(engine: str, x: Tensor, p: float, seed: Tensor, shared_dims: int) -> Tensor:
    """`reference.counter_dropout` on `engine` ("plain" or "triton"), with the strides of x."""
    if engine == "triton":
        result: Tensor = _triton().dropout(x, p, seed, shared_dims)
        return result
    return _with_strides_of(plain.counter_dropout(x, p, seed, shared_dims), torch.empty_like(x))


@dropout.register_fake
def _(engine: str, x: Tensor, p: float, seed: Tensor, shared_dims: int) -> Tensor:
    return torch.empty_like(x)


@dropout.register_vmap
def _(
    info: Any, dims: tuple[int | None, ...], engine: str, x: Tensor, p: float, seed: Tensor, shared_dims: int
) -> tuple[Tensor, int]:
    """Each sample gets the mask of its seed, as in a loop over the samples."""
    _, x_dim, _, seed_dim, _ = dims
    if seed_dim is None:
        assert x_dim is not None
        return dropout(engine, x.movedim(x_dim, 0), p, seed, shared_dims + 1), 0
    samples = x.expand(info.batch_size, *x.shape) if x_dim is None else x.movedim(x_dim, 0)
    pairs = zip(samples, seed.movedim(seed_dim, 0), strict=True)
    return torch.stack([dropout(engine, sample, p, own, shared_dims) for sample, own in pairs]), 0


@torch.library.custom_op("fusedrnn::bias_relu_dropout", mutates_args=())
def bias_relu_dropout(engine: str, x: Tensor, bias: Tensor, p: float, seed: Tensor | None) -> Tensor:
    """`reference.bias_relu_dropout` on `engine`, contiguous; no seed is needed for `p` = 0 or 1."""
    if engine == "triton":
        result: Tensor = _triton().bias_relu_dropout(x, bias, p, seed)
        return result
    seed = x.new_empty(1, dtype=torch.int64) if seed is None else seed
    return _contiguous(plain.bias_relu_dropout(x, bias, p, seed))


@bias_relu_dropout.register_fake
def _(engine: str, x: Tensor, bias: Tensor, p: float, seed: Tensor | None) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


@torch.library.custom_op("fusedrnn::bias_relu_dropout_gradient", mutates_args=())
def bias_relu_dropout_gradient(engine: str, grad: Tensor, y: Tensor, p: float) -> Tensor:
    """`reference.bias_relu_dropout_gradient` on `engine`, contiguous."""
    if engine == "triton":
        result: Tensor = _triton().bias_relu_dropout_gradient(grad, y, p)
        return result
    return _contiguous(plain.bias_relu_dropout_gradient(grad, y, p))


@bias_relu_dropout_gradient.register_fake
def _(engine: str, grad: Tensor, y: Tensor, p: float) -> Tensor:
    return torch.empty_like(grad, memory_format=torch.contiguous_format)


@bias_relu_dropout_gradient.register_vmap
def _(info: Any, dims: tuple[int | None, ...], engine: str, grad: Tensor, y: Tensor, p: float) -> tuple[Tensor, int]:
    _, grad_dim, y_dim, _ = dims
    y = y.expand(info.batch_size, *y.shape) if y_dim is None else y.movedim(y_dim, 0)
    grad = grad.expand(y.shape) if grad_dim is None else grad.movedim(grad_dim, 0)
    return bias_relu_dropout_gradient(engine, grad, y, p), 0


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.engine, _, ctx.p, seed, ctx.shared_dims = inputs
    ctx.save_for_backward(seed)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    (seed,) = ctx.saved_tensors
    return None, dropout(ctx.engine, grad, ctx.p, seed, ctx.shared_dims), None, None, None


def _setup_fused(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.engine, _, _, ctx.p, _ = inputs
    ctx.save_for_backward(output)


def _backward_fused(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    (y,) = ctx.saved_tensors
    dx = bias_relu_dropout_gradient(ctx.engine, grad, y, ctx.p)
    return None, dx, dx.sum_to_size(dx.shape[-1:]) if ctx.needs_input_grad[2] else None, None, None


def _setup_gradient(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.engine, _, y, ctx.p = inputs
    ctx.save_for_backward(y)


def _backward_gradient(ctx: Any, second: Tensor) -> tuple[Tensor | None, ...]:
    (y,) = ctx.saved_tensors
    return None, bias_relu_dropout_gradient(ctx.engine, second, y, ctx.p), None, None


dropout.register_autograd(_backward, setup_context=_setup)
bias_relu_dropout.register_autograd(_backward_fused, setup_context=_setup_fused)
bias_relu_dropout_gradient.register_autograd(_backward_gradient, setup_context=_setup_gradient)


class _InPlace(torch.autograd.Function):
    """Dropout that overwrites its input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, engine: str, p: float, seed: Tensor, shared_dims: int) -> Tensor:
        ctx.mark_dirty(x)
        ctx.save_for_backward(seed)
        ctx.rest = engine, p, shared_dims
        if engine == "triton":
            _triton().dropout(x, p, seed, shared_dims, out=x)
        else:
            x.copy_(plain.counter_dropout(x, p, seed, shared_dims))
        return x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        engine, p, shared_dims = ctx.rest
        return dropout(engine, grad, p, ctx.saved_tensors[0], shared_dims), None, None, None, None


def drop(engine: str, x: Tensor, p: float, seed: Tensor, shared_dims: int = 0, *, inplace: bool = False) -> Tensor:
    """Dropout in any context: plain operators under torch.func and forward-mode AD, otherwise the operator, also when tracing."""
    through = transformed()
    if inplace and not (through or torch.compiler.is_compiling() or x.is_meta or is_fake(x)):
        result: Tensor = _InPlace.apply(x, engine, p, seed, shared_dims)  # type: ignore[no-untyped-call]
        return result
    y = plain.counter_dropout(x, p, seed, shared_dims) if through else dropout(engine, x, p, seed, shared_dims)
    return x.copy_(y) if inplace else y


def torch_dropout(x: Tensor, p: float, shared_dims: int = 0, *, inplace: bool = False) -> Tensor:
    """`torch.dropout`; the first `shared_dims` dimensions share one mask."""
    if not shared_dims:
        return torch.dropout_(x, p, True) if inplace else torch.dropout(x, p, True)
    mask = torch.dropout(x.new_ones(x.shape[shared_dims:]), p, True)
    return x.mul_(mask) if inplace else x * mask


def torch_dropout_of_rows(x: Tensor, p: float, places: Tensor) -> Tensor:
    """`torch.dropout` of the packed rows (N, F) that are at `places` (N,) of x (T, B, F); zeros in the padding."""
    mask = torch.dropout(x.new_ones(len(places), x.shape[-1]), p, True)
    return x * torch.zeros_like(x).flatten(0, 1).index_copy(0, places, mask).view(x.shape)


def seed_for(p: float, device: torch.device, count: int = 1) -> Tensor:
    """`count` seeds, int64, from torch's generator of `device`; for `p` = 1, where the mask is not random, zeros without a draw."""
    if p == 1:
        return torch.zeros(count, dtype=torch.int64, device=device)
    if device.type in ("cpu", "cuda", "meta"):
        return torch.randint(-(1 << 63), (1 << 63) - 1, (count,), dtype=torch.int64, device=device)
    words = torch.randint(1 << 16, (4, count), dtype=torch.int64, device=device)  # MPS draws at most 32 bits at once
    return words[0] << 48 | words[1] << 32 | words[2] << 16 | words[3]


def _contiguous(y: Tensor) -> Tensor:
    return _with_strides_of(y, torch.empty_like(y, memory_format=torch.contiguous_format))


def _with_strides_of(y: Tensor, like: Tensor) -> Tensor:
    """`y` with the strides of `like`, which tracing has promised; copied even if only strides of dimensions of size 1 differ."""
    return y if y.stride() == like.stride() else like.copy_(y)
