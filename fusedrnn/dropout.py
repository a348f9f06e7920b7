"""Dropout without a stored mask: `functional.dropout` and `functional.bias_relu_dropout`.

A call draws one 64-bit seed from torch's generator of the device; the mask is a function of that seed and of the elements'
indices (`fusedrnn.reference.counter_dropout`), so every backend drops the same elements, and whatever reproduces torch's random
numbers reproduces the mask: `torch.manual_seed`, `fork_rng`, activation checkpointing. The seed stays on the device: nothing
waits for it, and each replay of a CUDA graph draws another.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fusedrnn import validation
from fusedrnn.backends.dispatch import pointwise_engine
from fusedrnn.context import autocast_dtype, transformed
from fusedrnn.operators import dropout as dropout_ops
from fusedrnn.operators.dropout import seed_for
from fusedrnn.reference import counter_dropout as plain


def dropout(
    input: Tensor,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    shared_dims: int = 0,
    backend: str | None = None,
) -> Tensor:
    """Zero each element with probability `p` and multiply the rest by 1 / (1 - p): `torch.nn.functional.dropout`.

    Two things differ from torch's: the mask is not stored, and a dropped NaN or infinity becomes 0. Products are formed in
    float64 for float64, else in float32, and rounded once.

    Args:
        input: any shape and strides, floating point.
        p: probability of dropping an element, 0 to 1. 0 returns `input` itself and 1 zeros; neither draws a number.
        training: False returns `input` itself and draws no number.
        inplace: overwrite `input` and return it.
        shared_dims: the first so many dimensions share one mask: 1 for a time-major sequence is variational dropout (Gal &
            Ghahramani, "A theoretically grounded application of dropout in recurrent neural networks", 2016).
        backend: "reference" and "aten" are plain torch operators, "triton" the kernel; None leaves the choice to `use_backend`
            and FUSEDRNN_BACKEND; "auto" is the kernel on a GPU, for the bits are the same.

    Returns:
        The shape, dtype and strides of `input`.

    Raises:
        ValueError: `p` is not a probability, `shared_dims` is not a number of dimensions, or no such backend; RuntimeError:
            `input` is not floating point, or is expanded and `inplace`; BackendUnavailableError: the backend asked for
            cannot serve the call.
    """
    p = validation.check_probability("dropout", p)
    validation.check_tensor("input", input)
    if not 0 <= shared_dims <= input.dim():
        raise ValueError(f"shared_dims: expected 0 to {input.dim()} (the dimensions of input), got {shared_dims}")
    if not training or p == 0:
        return input
    validation.check_floating("dropout", input)
    if inplace:
        validation.check_writable("dropout", input)
    engine = pointwise_engine(backend, input)
    return dropout_ops.drop(engine, input, p, seed_for(p, input.device), shared_dims, inplace=inplace)


def bias_relu_dropout(
    input: Tensor, bias: Tensor, p: float = 0.5, training: bool = True, *, backend: str | None = None
) -> Tensor:
    """Dropout of max(input + bias, 0), in one read and one write: what follows the product of a hidden linear layer.

    The backward keeps the result alone, which the next layer keeps anyway: its zeros say where no gradient flows. The sum and
    the product with 1 / (1 - p) are rounded once, together.

    Args:
        input: (*, F), floating point, contiguous or else copied.
        bias: (F,), of the dtype and device of `input` (under autocast it is cast).
        p: probability of dropping an element, 0 to 1.
        training: False drops nothing and draws no number.
        backend: as for `dropout`.

    Returns:
        The shape and dtype of `input`, contiguous.

    Raises:
        As `dropout`; RuntimeError: `bias` does not fit.
    """
    p = validation.check_probability("bias_relu_dropout", p) if training else 0.0
    validation.check_tensor("input", input)
    validation.check_tensor("bias", bias)
    validation.check_floating("bias_relu_dropout", input)
    if autocast_dtype(input.device) is not None:
        bias = bias.to(input.dtype)
    validation.check_bias(bias, input)
    engine = pointwise_engine(backend, input)
    seed = None if p == 0 else seed_for(p, input.device)
    if transformed():
        return plain.bias_relu_dropout(input, bias, p, seed if seed is not None else torch.zeros(1, dtype=torch.int64))
    result: Tensor = dropout_ops.bias_relu_dropout(engine, input, bias, p, seed)
    return result
