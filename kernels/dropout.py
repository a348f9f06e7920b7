"""Dropout kernels that store no mask: plain dropout, which is its own backward, and dropout(relu(x + bias)) with its backward.

`philox` decides which elements are kept. ``threshold`` (uint32) and ``scale`` (float64) are passed as signed integers with the
same bits, because Triton would round a float argument to float32. The arguments in ``RUNTIME`` cause no recompilation.
"""

import triton
import triton.language as tl

from fusedrnn.kernels.philox import kept_at, kept_from, scaled

RUNTIME = ["size", "rows", "blocks", "counter", "threshold", "scale"]


@triton.jit
def _flat_block(
    x_ptr, bias_ptr, y_ptr, seed_ptr,
    start, size, width, counter, threshold, scale,
    BIAS_RELU: tl.constexpr, ALIGNED: tl.constexpr, DROP: tl.constexpr,
    WIDE: tl.constexpr, BLOCK: tl.constexpr, WHOLE: tl.constexpr,
):  # fmt: skip
    """Compute elements ``start`` to ``start + BLOCK - 1``; without a mask if ``WHOLE``: all of them are below ``size``."""
    local = tl.arange(0, BLOCK)
    mask = None if WHOLE else local < (size - start).to(tl.int32)
    x = tl.load(x_ptr + start + local, mask=mask)
    if BIAS_RELU:
        column = ((start % width).to(tl.int32) + local) % width
        if ALIGNED:
            column = tl.max_contiguous(tl.multiple_of(column, 8), 8)
        x = x.to(WIDE) + tl.load(bias_ptr + column).to(WIDE)
        x = tl.where(x < 0, 0.0, x)  # keeps NaN
    if DROP:
        keep = kept_from(tl.load(seed_ptr), counter + start // 4, threshold, BLOCK)
        x = scaled(x, keep, scale, WIDE)
    tl.store(y_ptr + start + local, x.to(y_ptr.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=RUNTIME)
def dropout_flat(
    x_ptr,     # (size,) contiguous
    bias_ptr,  # (width,), or None
    y_ptr,     # (size,) contiguous, may be x
    seed_ptr,  # (1,) int64
    size, width, counter, threshold, scale,
    BIAS_RELU: tl.constexpr, ALIGNED: tl.constexpr, DROP: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """y = dropout(x), or dropout(relu(x + bias)) with ``BIAS_RELU``; no dropout without ``DROP``. One block per program.

    Only the last block may be masked: the other loads and stores are as wide as the alignment of the tensors allows, for any size.
    ``ALIGNED``: width is a multiple of 8, so that eight consecutive elements never wrap around the end of the bias.
    """
    start = tl.program_id(0).to(tl.int64) * BLOCK
    if start + BLOCK <= size:
        _flat_block(x_ptr, bias_ptr, y_ptr, seed_ptr, start, size, width, counter, threshold, scale,
                    BIAS_RELU, ALIGNED, DROP, WIDE, BLOCK, True)  # fmt: skip
    else:
        _flat_block(x_ptr, bias_ptr, y_ptr, seed_ptr, start, size, width, counter, threshold, scale,
                    BIAS_RELU, ALIGNED, DROP, WIDE, BLOCK, False)  # fmt: skip


@triton.jit(do_not_specialize=RUNTIME)
def dropout_shared(
    x_ptr,     # (rows, width) contiguous
    y_ptr,     # (rows, width) contiguous, may be x
    seed_ptr,  # (1,) int64
    rows, width, blocks, counter, threshold, scale,
    ROWS: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Dropout with one mask for all rows. A program draws one of the mask's ``blocks`` once and applies it to ``ROWS`` rows."""
    program = tl.program_id(0)
    start = (program % blocks).to(tl.int64) * BLOCK
    local = tl.arange(0, BLOCK)
    mask = start + local < width
    keep = kept_from(tl.load(seed_ptr), counter + start // 4, threshold, BLOCK)
    first = (program // blocks).to(tl.int64) * ROWS
    for row in range(first, min(first + ROWS, rows)):
        at = row * width + start
        x = tl.load(x_ptr + at + local, mask=mask)
        tl.store(y_ptr + at + local, scaled(x, keep, scale, WIDE).to(y_ptr.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=RUNTIME)
def dropout_strided(
    x_ptr, y_ptr,
    seed_ptr,  # (1,) int64
    size, width, counter, threshold, scale,
    sizes, x_strides, y_strides,  # tuples, one entry per dimension, last dimension first
    NDIM: tl.constexpr, SHARED: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Dropout for any strides; elements are numbered in row-major order. ``SHARED``: the mask repeats every ``width`` elements."""
    start = tl.program_id(0).to(tl.int64) * BLOCK
    index = start + tl.arange(0, BLOCK)
    mask = index < size
    rest = index
    x_at = tl.zeros((BLOCK,), tl.int64)
    y_at = tl.zeros((BLOCK,), tl.int64)
    for k in tl.static_range(NDIM):
        place = rest % sizes[k] if k < NDIM - 1 else rest
        rest = rest // sizes[k]
        x_at += place * x_strides[k]
        y_at += place * y_strides[k]
    if SHARED:
        keep = kept_at(tl.load(seed_ptr), counter * 4 + index % width, threshold)
    else:
        keep = kept_from(tl.load(seed_ptr), counter + start // 4, threshold, BLOCK)
    x = tl.load(x_ptr + x_at, mask=mask)
    tl.store(y_ptr + y_at, scaled(x, keep, scale, WIDE).to(y_ptr.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=RUNTIME)
def relu_dropout_backward(
    dy_ptr, y_ptr, dx_ptr,  # (size,) contiguous
    size, scale,
    WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """dx = dy * scale where y != 0, else 0: y is zero where the element was dropped or cut off by the ReLU."""
    start = tl.program_id(0).to(tl.int64) * BLOCK
    local = tl.arange(0, BLOCK)
    if start + BLOCK <= size:
        kept = tl.load(y_ptr + start + local) != 0
        dx = scaled(tl.load(dy_ptr + start + local), kept, scale, WIDE)
        tl.store(dx_ptr + start + local, dx.to(dx_ptr.dtype.element_ty))
    else:
        mask = local < (size - start).to(tl.int32)
        kept = tl.load(y_ptr + start + local, mask=mask) != 0
        dx = scaled(tl.load(dy_ptr + start + local, mask=mask), kept, scale, WIDE)
        tl.store(dx_ptr + start + local, dx.to(dx_ptr.dtype.element_ty), mask=mask)
