"""Launchers of the dropout kernels: choose one by strides, allocate, launch. No autograd; shapes and devices are not checked."""

from __future__ import annotations

import math
import struct
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from fusedrnn.kernels.dropout import dropout_flat, dropout_shared, dropout_strided, relu_dropout_backward
from fusedrnn.kernels.launch import INTERPRETED

BLOCK = 2048
"""Elements per program, not measured on a GPU: 128 threads move 16 bytes each in 2 (16-bit) to 8 (float64) accesses."""
REGISTERS = 128
"""Registers per thread at most, so that four programs share an SM. By default ptxas spills registers to make room for five."""
STRIDED = 512
"""Elements per program for arbitrary strides: 4 per thread, because the addresses of 16 take 254 registers."""
ROWS = 16
"""Rows per program that reuse a drawn block of the mask, when rows share one mask."""


def dropout(
    x: Tensor, p: float, seed: Tensor, shared_dims: int = 0, out: Tensor | None = None, counter: int = 0
) -> Tensor:
    """Drop elements of x with probability ``p``, in 0 <= p <= 1, and scale the rest by 1 / (1 - p).

    x has any shape and strides; seed is one int64 on the device of x. The first ``shared_dims`` dimensions share one mask. The
    result is written to ``out``, which may be x, by default a new tensor like x. Element 0 has Philox index 4 * ``counter``.
    """
    out = torch.empty_like(x) if out is None else out
    if p == 1 or x.numel() == 0:
        return out.zero_()
    if _inexact(x):
        return out.copy_(dropout(x.float(), p, seed, shared_dims, counter=counter))
    size, width = x.numel(), math.prod(x.shape[shared_dims:])
    numbers = (counter, threshold_bits(p), scale_bits(p))
    options = _options(x)
    with torch.cuda.device_of(x):
        if not (x.is_contiguous() and out.is_contiguous()):
            dims = _collapsed(x, out)
            dropout_strided[(triton.cdiv(size, STRIDED),)](
                x, out, seed, size, width, *numbers, *dims,
                NDIM=len(dims[0]), SHARED=width < size, **{**options, "BLOCK": STRIDED},
            )  # fmt: skip
        elif width < size:
            rows, blocks = size // width, triton.cdiv(width, BLOCK)
            grid = (blocks * triton.cdiv(rows, ROWS),)
            dropout_shared[grid](x, out, seed, rows, width, blocks, *numbers, ROWS=ROWS, **options)
        else:
            dropout_flat[(triton.cdiv(size, BLOCK),)](
                x, None, out, seed, size, 1, *numbers, BIAS_RELU=False, ALIGNED=False, DROP=True, **options
            )
    return out


def bias_relu_dropout(x: Tensor, bias: Tensor, p: float, seed: Tensor | None) -> Tensor:
    """Dropout of relu(x + bias) in one pass, contiguous. x: (*, F); bias: (F,); seed: one int64, or None if ``p`` is 0."""
    x, bias = x.contiguous(), bias.contiguous()
    y = torch.empty_like(x, memory_format=torch.contiguous_format)
    if p == 1 or x.numel() == 0:
        return y.zero_()
    if _inexact(x):
        return bias_relu_dropout(x.float(), bias.float(), p, seed).to(x.dtype)
    size, numbers = x.numel(), (0, threshold_bits(p), scale_bits(p))
    with torch.cuda.device_of(x):
        dropout_flat[(triton.cdiv(size, BLOCK),)](
            x, bias, y, seed, size, len(bias), *numbers,
            BIAS_RELU=True, ALIGNED=len(bias) % 8 == 0, DROP=p > 0, **_options(x),
        )  # fmt: skip
    return y


def bias_relu_dropout_gradient(grad: Tensor, y: Tensor, p: float) -> Tensor:
    """Gradient of x, contiguous, from the gradient ``grad`` of y = ``bias_relu_dropout(x, ...)``; all of one shape."""
    grad, y = grad.contiguous(), y.contiguous()
    dx = torch.empty_like(grad, memory_format=torch.contiguous_format)
    if p == 1 or grad.numel() == 0:
        return dx.zero_()
    if _inexact(grad):
        return bias_relu_dropout_gradient(grad.float(), y.float(), p).to(grad.dtype)
    with torch.cuda.device_of(grad):
        relu_dropout_backward[(triton.cdiv(grad.numel(), BLOCK),)](
            grad, y, dx, grad.numel(), scale_bits(p), **_options(grad)
        )
    return dx


def _inexact(x: Tensor) -> bool:
    """Whether the kernel would round wrongly: Triton's interpreter truncates float32 to bfloat16."""
    return INTERPRETED and x.dtype == torch.bfloat16


def _options(x: Tensor) -> dict[str, Any]:
    return {
        "WIDE": tl.float64 if x.dtype == torch.float64 else tl.float32,
        "BLOCK": BLOCK,
        "enable_fp_fusion": True,
        "maxnreg": REGISTERS,
    }


def threshold_bits(p: float) -> int:
    """The smallest random word that is kept, a uint32, as the int32 with the same bits."""
    word = min(round(p * 2**32), (1 << 32) - 1)
    return word - (word >> 31 << 32)


def scale_bits(p: float) -> int:
    """The bits of the float64 1 / (1 - p)."""
    return float_bits(1 / (1 - p))


def float_bits(x: float) -> int:
    """The float64 ``x``, not negative, as the int64 with the same bits."""
    return int.from_bytes(struct.pack("<d", x), "little")


def _collapsed(x: Tensor, out: Tensor) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Sizes, strides of x and of out, last dimension first; drops dimensions of size 1, merges those contiguous in both tensors."""
    dims: list[list[int]] = []
    for size, a, b in zip(reversed(x.shape), reversed(x.stride()), reversed(out.stride()), strict=True):
        if size == 1:
            continue
        if dims and a == dims[-1][0] * dims[-1][1] and b == dims[-1][0] * dims[-1][2]:
            dims[-1][0] *= size
        else:
            dims.append([size, a, b])
    sizes, x_strides, out_strides = zip(*dims or [[1, 1, 1]], strict=True)
    return sizes, x_strides, out_strides
