"""What both polled sweeps share: where values lie, the weights in registers, the exchanged operand, blocks of gates.

A program multiplies its slice of weights, 16 units of each gate, by the exchanged state (forward) or gradients (backward) of its
samples. K, the width of the product, is dealt out to the warps: operands have a leading dimension of one part a warp. Both
operands lie in registers in the order that the tensor cores take, eight neighbours of K a thread, so that every load is 16 bytes
of 16-bit numbers. The parts meet once, through shared memory.
"""

import triton.language as tl

from fusedrnn.kernels.language import gl, jit, mma
from fusedrnn.kernels.poll import poll


@jit
def along(SIZE: tl.constexpr, layout: tl.constexpr, DIM: tl.constexpr):
    """0 to SIZE - 1 along one of three dimensions, the others of size 1."""
    if DIM == 0:
        return gl.arange(0, SIZE, layout=gl.SliceLayout(1, gl.SliceLayout(2, layout))).expand_dims(1).expand_dims(2)
    elif DIM == 1:
        return gl.arange(0, SIZE, layout=gl.SliceLayout(0, gl.SliceLayout(2, layout))).expand_dims(0).expand_dims(2)
    else:
        return gl.arange(0, SIZE, layout=gl.SliceLayout(0, gl.SliceLayout(1, layout))).expand_dims(0).expand_dims(1)


@jit
def columns(layout: tl.constexpr, DIM: tl.constexpr, SPLIT: tl.constexpr, BLOCK_K: tl.constexpr, CHUNKS: tl.constexpr):
    """Columns of the first chunk of every part, K along dimension ``DIM``; the next chunk's are ``BLOCK_K`` further on."""
    return along(SPLIT, layout, 0) * (BLOCK_K * CHUNKS) + along(BLOCK_K, layout, DIM)


@jit
def load_weights(
    w_ptr, units, column, H, row_stride, gate_stride,
    GATES: tl.constexpr, BLOCK_K: tl.constexpr, CHUNKS: tl.constexpr,
):  # fmt: skip
    """The slice [part, unit, BLOCK_K] of every chunk of every gate, gate by gate; zeros outside H."""
    tiles = ()
    for i in gl.static_range(GATES * CHUNKS):
        k = column + i % CHUNKS * BLOCK_K
        offsets = units * row_stride + i // CHUNKS * gate_stride + k
        tiles = tiles + (gl.load(w_ptr + offsets, mask=(units < H) & (k < H), other=0.0),)
    return tiles


@jit
def take(
    x_ptr, column, width, zeros_ptr, polls, error_ptr, launch_id,
    FIRST: tl.constexpr, COUNT: tl.constexpr, BLOCK_K: tl.constexpr, CHUNKS: tl.constexpr, EVEN: tl.constexpr,
    EACH: tl.constexpr, IO: tl.constexpr,
):  # fmt: skip
    """Poll ``COUNT`` chunks from chunk FIRST on, gate by gate, a gate ``width`` elements after the one before.

    Columns past the width read the eight zeros at ``zeros_ptr``, unless EVEN says that there are none such.
    """
    pointers = ()
    for i in gl.static_range(FIRST, FIRST + COUNT):
        k = column + i % CHUNKS * BLOCK_K
        pointer = x_ptr + (i // CHUNKS * width + k)
        if not EVEN:
            pointer = gl.where(k < width, pointer, zeros_ptr + k % 8)
        pointers = pointers + (pointer,)
    return poll(pointers, polls, error_ptr, launch_id, COUNT, EACH, IO)


@jit
def multiply(
    acc, tiles, x_ptr, column, width, zeros_ptr, polls, error_ptr, launch_id,
    FIRST: tl.constexpr, COUNT: tl.constexpr, BLOCK_K: tl.constexpr, CHUNKS: tl.constexpr, EVEN: tl.constexpr,
    EACH: tl.constexpr, IO: tl.constexpr,
):  # fmt: skip
    """acc + the products of ``COUNT`` chunks from chunk FIRST on, polled together; and the polls left."""
    x = take(
        x_ptr, column, width, zeros_ptr, polls, error_ptr, launch_id, FIRST, COUNT, BLOCK_K, CHUNKS, EVEN, EACH, IO
    )
    for i in gl.static_range(COUNT):
        acc = mma(tiles[FIRST + i], x[i], acc)
    return acc, x[COUNT]


@jit
def load_gates(ptr, offsets, H, mask, COUNT: tl.constexpr):
    """``COUNT`` blocks that lie H apart, as they are stored; zeros where masked."""
    blocks = ()
    for i in gl.static_range(COUNT):
        blocks = blocks + (gl.load(ptr + offsets + i * H, mask=mask, other=0.0),)
    return blocks


@jit
def widened(blocks, COUNT: tl.constexpr, ACC: tl.constexpr):
    """Blocks in the accumulation dtype. Not where they are loaded: that would wait for the loads there."""
    wide = ()
    for i in gl.static_range(COUNT):
        wide = wide + (blocks[i].to(ACC),)
    return wide
