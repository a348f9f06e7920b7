"""The recurrent product: a slice of weights, one row a unit, times the exchanged state of one batch tile.

Transposed, units as rows: ``[BLOCK_U, K] x [K, BLOCK_B]``. Resident forms load the slice once, as a tuple of tiles that the
compiler keeps on chip for the whole time loop; the streamed form reads the tiles from L2 at every step.

A product of 16 units and 16 samples is one tensor-core tile: four warps that share it would all compute the same thing, and all
read the whole slice to do so. So K is dealt out: with ``SPLIT`` > 1 operands have a leading dimension that the compiler gives to
the warps, each multiplies its own part of K, and the parts are added at the end.
"""

import triton
import triton.language as tl


@triton.jit
def columns_of(start, SPLIT: tl.constexpr, BLOCK_K: tl.constexpr):
    """The SPLIT * BLOCK_K columns from ``start`` on: [BLOCK_K], or [SPLIT, BLOCK_K]."""
    if SPLIT == 1:
        return start + tl.arange(0, BLOCK_K)
    else:
        return start + tl.arange(0, SPLIT)[:, None] * BLOCK_K + tl.arange(0, BLOCK_K)[None, :]


@triton.jit
def load_tile(w_ptr, row, gate, columns, H, gate_stride, unit_mask, SPLIT: tl.constexpr):
    """Weights of the columns, [(SPLIT,) BLOCK_U, BLOCK_K]: ``row`` the offset of each unit's row, zeros outside H."""
    if SPLIT == 1:
        offsets = row[:, None] + gate * gate_stride + columns[None, :]
        return tl.load(w_ptr + offsets, mask=unit_mask[:, None] & (columns < H)[None, :], other=0.0)
    else:
        offsets = row[None, :, None] + gate * gate_stride + columns[:, None, :]
        return tl.load(w_ptr + offsets, mask=unit_mask[None, :, None] & (columns < H)[:, None, :], other=0.0)


@triton.jit
def load_slice(
    w_ptr, row, H, gate_stride, unit_mask,
    FIRST: tl.constexpr, LAST: tl.constexpr, SPLIT: tl.constexpr, BLOCK_K: tl.constexpr, CHUNKS: tl.constexpr,
):  # fmt: skip
    """The tiles of gates FIRST to LAST - 1, ``CHUNKS`` along K each, gate by gate."""
    tiles = ()
    for gate in tl.static_range(FIRST, LAST):
        for chunk in tl.static_range(CHUNKS):
            columns = columns_of(chunk * SPLIT * BLOCK_K, SPLIT, BLOCK_K)
            tiles = tiles + (load_tile(w_ptr, row, gate, columns, H, gate_stride, unit_mask, SPLIT),)
    return tiles


@triton.jit
def load_operand(x_ptr, row, columns, H, batch_mask, SPLIT: tl.constexpr):
    """What the lane exchanges, [(SPLIT,) BLOCK_K, BLOCK_B], read past the first-level cache, which is not coherent."""
    if SPLIT == 1:
        mask = (columns < H)[:, None] & batch_mask[None, :]
        return tl.load(x_ptr + row[None, :] + columns[:, None], mask=mask, other=0.0, cache_modifier=".cg")
    else:
        mask = (columns < H)[:, :, None] & batch_mask[None, None, :]
        return tl.load(x_ptr + row[None, None, :] + columns[:, :, None], mask=mask, other=0.0, cache_modifier=".cg")


@triton.jit
def dot(w, x, acc, UPCAST: tl.constexpr, PRECISION: tl.constexpr):
    """acc + w x; ``UPCAST`` where the interpreter's 16-bit product is not to be trusted."""
    if UPCAST:
        return tl.dot(w.to(tl.float32), x.to(tl.float32), acc, input_precision="ieee")
    else:
        return tl.dot(w, x, acc, input_precision=PRECISION, out_dtype=acc.dtype)


@triton.jit
def zeros(SPLIT: tl.constexpr, ACC: tl.constexpr, BLOCK_U: tl.constexpr, BLOCK_B: tl.constexpr):
    """An accumulator of `dot`."""
    if SPLIT == 1:
        return tl.zeros((BLOCK_U, BLOCK_B), ACC)
    else:
        return tl.zeros((SPLIT, BLOCK_U, BLOCK_B), ACC)


@triton.jit
def added(parts, SPLIT: tl.constexpr, BLOCK_U: tl.constexpr, BLOCK_B: tl.constexpr):
    """The sum of the SPLIT parts, [BLOCK_U, BLOCK_B].

    Halving with ``split`` makes the compiler bring the parts of one element into one thread and leave each element to one thread;
    ``tl.sum`` would leave every element to every warp.
    """
    if SPLIT == 1:
        return parts
    elif SPLIT == 2:
        first, second = tl.split(parts.permute(1, 2, 0))
        return first + second
    else:
        halves = tl.reshape(parts.permute(1, 2, 0), (BLOCK_U, BLOCK_B, SPLIT // 2, 2))
        first, second = tl.split(halves)
        return added((first + second).permute(2, 0, 1), SPLIT // 2, BLOCK_U, BLOCK_B)


@triton.jit
def products(
    tiles, w_ptr, w_row, gate_stride, unit_mask,
    x_ptr, x_row, batch_mask, H,
    FIRST: tl.constexpr, LAST: tl.constexpr, RESIDENT: tl.constexpr, UPCAST: tl.constexpr, PRECISION: tl.constexpr,
    ACC: tl.constexpr, BLOCK_U: tl.constexpr, BLOCK_B: tl.constexpr, SPLIT: tl.constexpr, BLOCK_K: tl.constexpr,
    CHUNKS: tl.constexpr, GROUP: tl.constexpr,
):  # fmt: skip
    """One product per gate FIRST to LAST - 1, all of the same operand: a tuple of [BLOCK_U, BLOCK_B]."""
    accs = ()
    for _ in tl.static_range(FIRST, LAST):
        accs = accs + (zeros(SPLIT, ACC, BLOCK_U, BLOCK_B),)
    if RESIDENT:
        for group in tl.static_range(0, CHUNKS, GROUP):
            operands = ()  # a group's loads before its products, so that they are under way together
            for chunk in tl.static_range(group, min(group + GROUP, CHUNKS)):
                columns = columns_of(chunk * SPLIT * BLOCK_K, SPLIT, BLOCK_K)
                operands = operands + (load_operand(x_ptr, x_row, columns, H, batch_mask, SPLIT),)
            for chunk in tl.static_range(group, min(group + GROUP, CHUNKS)):
                sums = ()
                for i in tl.static_range(LAST - FIRST):
                    sums = sums + (dot(tiles[i * CHUNKS + chunk], operands[chunk - group], accs[i], UPCAST, PRECISION),)
                accs = sums
    else:
        for start in range(0, H, SPLIT * BLOCK_K):
            columns = columns_of(start, SPLIT, BLOCK_K)
            x = load_operand(x_ptr, x_row, columns, H, batch_mask, SPLIT)
            sums = ()
            for i in tl.static_range(LAST - FIRST):
                w = load_tile(w_ptr, w_row, FIRST + i, columns, H, gate_stride, unit_mask, SPLIT)
                sums = sums + (dot(w, x, accs[i], UPCAST, PRECISION),)
            accs = sums
    results = ()
    for i in tl.static_range(LAST - FIRST):
        results = results + (added(accs[i], SPLIT, BLOCK_U, BLOCK_B),)
    return results


@triton.jit
def gather(
    tiles, w_ptr, w_row, gate_stride, unit_mask,
    x_ptr, x_row, batch_mask, H,
    FIRST: tl.constexpr, LAST: tl.constexpr, RESIDENT: tl.constexpr, UPCAST: tl.constexpr, PRECISION: tl.constexpr,
    ACC: tl.constexpr, BLOCK_U: tl.constexpr, BLOCK_B: tl.constexpr, SPLIT: tl.constexpr, BLOCK_K: tl.constexpr,
    CHUNKS: tl.constexpr, GROUP: tl.constexpr,
):  # fmt: skip
    """The sum over gates FIRST to LAST - 1 of each gate's weights times that gate's own operand: [BLOCK_U, BLOCK_B].

    The operand of gate FIRST + i starts at ``x_ptr + i * H``.
    """
    acc = zeros(SPLIT, ACC, BLOCK_U, BLOCK_B)
    if RESIDENT:
        COUNT: tl.constexpr = (LAST - FIRST) * CHUNKS
        for group in tl.static_range(0, COUNT, GROUP):
            operands = ()
            for i in tl.static_range(group, min(group + GROUP, COUNT)):
                columns = columns_of(i % CHUNKS * SPLIT * BLOCK_K, SPLIT, BLOCK_K)
                operands = operands + (load_operand(x_ptr + i // CHUNKS * H, x_row, columns, H, batch_mask, SPLIT),)
            for i in tl.static_range(group, min(group + GROUP, COUNT)):
                acc = dot(tiles[i], operands[i - group], acc, UPCAST, PRECISION)
    else:
        for i in tl.static_range(LAST - FIRST):
            for start in range(0, H, SPLIT * BLOCK_K):
                columns = columns_of(start, SPLIT, BLOCK_K)
                x = load_operand(x_ptr + i * H, x_row, columns, H, batch_mask, SPLIT)
                w = load_tile(w_ptr, w_row, FIRST + i, columns, H, gate_stride, unit_mask, SPLIT)
                acc = dot(w, x, acc, UPCAST, PRECISION)
    return added(acc, SPLIT, BLOCK_U, BLOCK_B)
