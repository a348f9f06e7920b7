"""The recurrent product: a slice of weights, one row a unit, times the exchanged state of one batch tile.

Transposed, units as rows: ``[BLOCK_U, K] x [K, BLOCK_B]``. Resident forms load the slice once, as a tuple of tiles that the
compiler keeps on chip for the whole time loop; the streamed form reads the tiles from L2 at every step.
"""

import triton
import triton.language as tl


@triton.jit
def load_tile(w_ptr, row, gate, columns, H, gate_stride, unit_mask):
    """One tile [BLOCK_U, BLOCK_K] of weights: ``row`` the offset of each unit's row, zeros outside H."""
    offsets = row[:, None] + gate * gate_stride + columns[None, :]
    return tl.load(w_ptr + offsets, mask=unit_mask[:, None] & (columns < H)[None, :], other=0.0)


@triton.jit
def load_slice(
    w_ptr, row, H, gate_stride, unit_mask,
    FIRST: tl.constexpr, LAST: tl.constexpr, BLOCK_K: tl.constexpr, CHUNKS: tl.constexpr,
):  # fmt: skip
    """The tiles of gates FIRST to LAST - 1, ``CHUNKS`` along K each, gate by gate."""
    tiles = ()
    for gate in tl.static_range(FIRST, LAST):
        for chunk in tl.static_range(CHUNKS):
            columns = chunk * BLOCK_K + tl.arange(0, BLOCK_K)
            tiles = tiles + (load_tile(w_ptr, row, gate, columns, H, gate_stride, unit_mask),)
    return tiles


@triton.jit
def load_operand(x_ptr, row, columns, H, batch_mask):
    """A chunk [BLOCK_K, BLOCK_B] of what the lane exchanges, read past the first-level cache, which is not coherent."""
    mask = (columns < H)[:, None] & batch_mask[None, :]
    return tl.load(x_ptr + row[None, :] + columns[:, None], mask=mask, other=0.0, cache_modifier=".cg")


@triton.jit
def dot(w, x, acc, UPCAST: tl.constexpr, PRECISION: tl.constexpr):
    """acc + w x; ``UPCAST`` where the interpreter's 16-bit product is not to be trusted."""
    if UPCAST:
        return tl.dot(w.to(tl.float32), x.to(tl.float32), acc, input_precision="ieee")
    else:
        return tl.dot(w, x, acc, input_precision=PRECISION, out_dtype=acc.dtype)


@triton.jit
def products(
    tiles, w_ptr, w_row, gate_stride, unit_mask,
    x_ptr, x_row, batch_mask, H,
    FIRST: tl.constexpr, LAST: tl.constexpr, RESIDENT: tl.constexpr, UPCAST: tl.constexpr, PRECISION: tl.constexpr,
    ACC: tl.constexpr, BLOCK_U: tl.constexpr, BLOCK_B: tl.constexpr, BLOCK_K: tl.constexpr, CHUNKS: tl.constexpr,
):  # fmt: skip
    """One product per gate FIRST to LAST - 1, all of the same operand: a tuple of [BLOCK_U, BLOCK_B]."""
    accs = ()
    for _ in tl.static_range(FIRST, LAST):
        accs = accs + (tl.zeros((BLOCK_U, BLOCK_B), ACC),)
    if RESIDENT:
        for chunk in tl.static_range(CHUNKS):
            columns = chunk * BLOCK_K + tl.arange(0, BLOCK_K)
            x = load_operand(x_ptr, x_row, columns, H, batch_mask)
            sums = ()
            for i in tl.static_range(LAST - FIRST):
                sums = sums + (dot(tiles[i * CHUNKS + chunk], x, accs[i], UPCAST, PRECISION),)
            accs = sums
    else:
        for start in range(0, H, BLOCK_K):
            columns = start + tl.arange(0, BLOCK_K)
            x = load_operand(x_ptr, x_row, columns, H, batch_mask)
            sums = ()
            for i in tl.static_range(LAST - FIRST):
                w = load_tile(w_ptr, w_row, FIRST + i, columns, H, gate_stride, unit_mask)
                sums = sums + (dot(w, x, accs[i], UPCAST, PRECISION),)
            accs = sums
    return accs


@triton.jit
def gather(
    tiles, w_ptr, w_row, gate_stride, unit_mask,
    x_ptr, x_row, batch_mask, H,
    FIRST: tl.constexpr, LAST: tl.constexpr, RESIDENT: tl.constexpr, UPCAST: tl.constexpr, PRECISION: tl.constexpr,
    ACC: tl.constexpr, BLOCK_U: tl.constexpr, BLOCK_B: tl.constexpr, BLOCK_K: tl.constexpr, CHUNKS: tl.constexpr,
):  # fmt: skip
    """The sum over gates FIRST to LAST - 1 of each gate's weights times that gate's own operand: [BLOCK_U, BLOCK_B].

    The operand of gate FIRST + i starts at ``x_ptr + i * H``.
    """
    acc = tl.zeros((BLOCK_U, BLOCK_B), ACC)
    for i in tl.static_range(LAST - FIRST):
        if RESIDENT:
            for chunk in tl.static_range(CHUNKS):
                columns = chunk * BLOCK_K + tl.arange(0, BLOCK_K)
                x = load_operand(x_ptr + i * H, x_row, columns, H, batch_mask)
                acc = dot(tiles[i * CHUNKS + chunk], x, acc, UPCAST, PRECISION)
        else:
            for start in range(0, H, BLOCK_K):
                columns = start + tl.arange(0, BLOCK_K)
                x = load_operand(x_ptr + i * H, x_row, columns, H, batch_mask)
                w = load_tile(w_ptr, w_row, FIRST + i, columns, H, gate_stride, unit_mask)
                acc = dot(w, x, acc, UPCAST, PRECISION)
    return acc
