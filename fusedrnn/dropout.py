"""Dropout without a stored mask: `functional.dropout` and `functional.bias_relu_dropout`.

A call draws one 64-bit seed from torch's generator of the device. The mask is a function of the seed and the element indices
(`fusedrnn.reference.counter_dropout`), so all backends drop the same elements, and the mask is reproduced together
with torch's random numbers: by `torch.manual_seed`, `fork_rng`, activation checkpointing. The seed stays on the device, so that
there is no synchronisation, and every replay of a CUDA graph draws a new one.

On a CPU torch's own dropout is cheaper than the arithmetic of such masks, so "auto" calls it there.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.fx import Proxy

from fusedrnn import nested, validation
from fusedrnn.backends.pointwise import pointwise_engine, torch_masks
from fusedrnn.context import autocast_dtype, exporting_onnx, recording, traced_as_call, transformed
from fusedrnn.operators import dropout as dropout_ops
from fusedrnn.operators.dropout import seed_for
from fusedrnn.reference import counter_dropout as plain
from fusedrnn.types import Backend


def dropout(
    input: Tensor,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    shared_dims: int = 0,
    backend: Backend | None = None,
) -> Tensor:
    """Zero each element with probability `p` and multiply the rest by 1 / (1 - p), as `torch.nn.functional.dropout` does.

    On a CPU "auto" calls torch's dropout: its masks, with the same random numbers. Otherwise there are two differences: the mask is
    not stored, and a dropped NaN or infinity becomes 0. Products are computed in float64
    for float64, else in float32, and rounded once. `torch.jit.trace` and `torch.onnx.export` record torch's dropout.

    Args:
        input: floating point, any shape and strides. A nested tensor, jagged or strided, gets the mask of its elements in a row:
            of `values()`, or of the flattened parts one after the other.
        p: probability of dropping an element, 0 to 1. 0 returns `input` itself and 1 zeros, without drawing a random number.
        training: False returns `input` itself, without drawing a random number.
        inplace: overwrite `input` and return it; a nested one only with a `p` of 0 or 1, as in torch.
        shared_dims: number of leading dimensions that share one mask; 1 for a time-major sequence is variational dropout (Gal &
            Ghahramani, "A theoretically grounded application of dropout in recurrent neural networks", 2016). 0 for nested input.
        backend: "reference" and "aten" use plain PyTorch operators, "triton" a kernel, "auto" a kernel on a GPU, all with
            bit-identical results, and on a CPU torch's dropout. None leaves the choice to `use_backend` and FUSEDRNN_BACKEND.

    Returns:
        A tensor with the shape, dtype and strides of `input`; a jagged one with its offsets, a strided nested one contiguous.

    Raises:
        TypeError: `input` is not a tensor, `p` not a number, or `shared_dims` not an integer.
        ValueError: `p` is not a probability, `shared_dims` is out of range, or the backend does not exist.
        RuntimeError: `input` is not floating point, or is expanded or nested and `inplace`.
        BackendUnavailableError: the requested backend cannot run the call.

    Example:
        >>> import torch
        >>> from fusedrnn.functional import dropout
        >>> x = torch.ones(20, 3, 8)
        >>> y = dropout(x, 0.5, shared_dims=1)  # one mask for all 20 steps
        >>> torch.equal(y[0], y[19]), sorted(set(y.flatten().tolist()))
        (True, [0.0, 2.0])
    """
    if isinstance(input, Proxy):
        return traced_as_call(dropout, input, p, training, inplace, shared_dims=shared_dims, backend=backend)
    p = validation.check_probability("dropout", p)
    validation.check_tensor("input", input)
    if shared_dims and input.is_nested:
        raise ValueError(f"shared_dims: expected 0 with a nested input, got {shared_dims}")
    validation.check_shared_dims(shared_dims, input.dim())
    if not training or p == 0:
        return input
    validation.check_floating("dropout", input)
    if input.is_nested:
        if inplace:
            validation.check_nested_in_place(p)
            return input.zero_()
        return nested.elementwise(lambda elements: dropout(elements, p, backend=backend), input)
    if inplace:
        validation.check_writable("dropout", input)
    if exporting_onnx() or (recording() and not shared_dims):
        return _recorded(input, p, shared_dims, inplace=inplace)
    if torch_masks(backend, input):
        return dropout_ops.torch_dropout(input, p, shared_dims, inplace=inplace)
    engine = pointwise_engine(backend, input)
    return dropout_ops.drop(engine, input, p, seed_for(p, input.device), shared_dims, inplace=inplace)


def _recorded(input: Tensor, p: float, shared_dims: int, *, inplace: bool) -> Tensor:
    """torch's dropout, for the formats of TorchScript and ONNX."""
    if shared_dims:
        raise RuntimeError(
            f"dropout: expected shared_dims=0 (variational=False), or evaluation mode, in ONNX, got {shared_dims}"
        )
    return torch.dropout_(input, p, True) if inplace else torch.dropout(input, p, True)


def bias_relu_dropout(
    input: Tensor, bias: Tensor, p: float = 0.5, training: bool = True, *, backend: Backend | None = None
) -> Tensor:
    """Compute dropout of max(input + bias, 0) in one read and one write, for use after the product of a hidden linear layer.

    The backward needs only the result, which the next layer saves anyway: where it is zero, so is the gradient. The sum and the
    product with 1 / (1 - p) are rounded once, together. On a CPU "auto" calls torch's functions one after the other instead.

    Args:
        input: (..., F), floating point; copied if not contiguous.
        bias: (F,), in the dtype and on the device of `input`; under autocast it is cast.
        p: probability of dropping an element, 0 to 1.
        training: False applies no dropout and draws no random number.
        backend: as for `dropout`.

    Returns:
        A contiguous tensor with the shape and dtype of `input`.

    Raises:
        TypeError: as `dropout`; or `bias` is not a tensor.
        ValueError: as `dropout`.
        RuntimeError: as `dropout`; or `bias` has the wrong size, dtype or device.
        BackendUnavailableError: as `dropout`.

    Example:
        >>> import torch
        >>> from fusedrnn.functional import bias_relu_dropout
        >>> linear = torch.nn.Linear(8, 16)
        >>> hidden = bias_relu_dropout(torch.randn(3, 8) @ linear.weight.t(), linear.bias, 0.5)
        >>> hidden.shape, bool((hidden >= 0).all())
        (torch.Size([3, 16]), True)
    """
    p = validation.check_probability("bias_relu_dropout", p) if training else 0.0
    validation.check_tensor("input", input)
    validation.check_tensor("bias", bias)
    validation.check_floating("bias_relu_dropout", input)
    if autocast_dtype(input.device) is not None:
        bias = bias.to(input.dtype)
    validation.check_bias(bias, input)
    if torch_masks(backend, input):
        return torch.dropout(torch.relu(input.contiguous() + bias), p, p > 0)
    engine = pointwise_engine(backend, input)
    seed = None if p == 0 else seed_for(p, input.device)
    if transformed():
        seed = input.new_zeros(1, dtype=torch.int64) if seed is None else seed
        return plain.bias_relu_dropout(input, bias, p, seed)
    result: Tensor = dropout_ops.bias_relu_dropout(engine, input, bias, p, seed)
    return result
