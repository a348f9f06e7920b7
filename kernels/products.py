"""The matrix product of both sweeps: loading of weights and exchanged operand, reduction over the warps.

Weights stay in registers if they fit, else in shared memory; else they are loaded at every step, from the L1 or L2 cache. The parts
of the product, one per warp, are summed once, through shared memory. A layer of few units runs in one program ("alone"): its units
instead of K are split over the warps, and the operand of the next step is handed on in shared memory instead of polled.
"""

import triton.language as tl

from fusedrnn.kernels.language import barrier, gl, jit, mma
from fusedrnn.kernels.peek import peek
from fusedrnn.kernels.poll import poll, publish
from fusedrnn.kernels.tiles import along, columns, count_chunks


@jit
def slice_of(w_ptr, first_unit, row_stride, gate_stride, H, TILES: tl.constexpr):
    """A program's slice of the weights for `load_tile`: row pointers, mask of rows, columns, stride between gates, H."""
    LEFT: tl.constexpr = TILES.left
    units = along(TILES.units, LEFT, 1) + first_unit
    return w_ptr + units * row_stride, units < H, columns(H, LEFT, 2, TILES), gate_stride, H


@jit
def load_tile(w, gate, chunk, TILES: tl.constexpr):
    """Load a chunk of a gate's weights of slice ``w``, [part, unit, k]; zeros outside H."""
    rows, there, column, gate_stride, H = w
    k = column + chunk * TILES.depth
    return gl.load(rows + (gate * gate_stride + k), mask=there & (k < H), other=0.0)


@jit
def resident(w, GATES: tl.constexpr, TILES: tl.constexpr):
    """Load all chunks of the slice, gate by gate, into registers or shared memory for the whole time loop; () if streamed."""
    tiles = ()
    if TILES.weights != "streamed":
        CHUNKS: tl.constexpr = TILES.chunks
        for i in gl.static_range(GATES * CHUNKS):
            tile = load_tile(w, i // CHUNKS, i % CHUNKS, TILES)
            if TILES.weights == "shared":
                box = gl.allocate_shared_memory(tile.dtype, [TILES.parts, TILES.units, TILES.depth], TILES.stored)
                box.store(tile)
                tiles = tiles + (box,)
            else:
                tiles = tiles + (tile,)
    return tiles


@jit
def multiply(
    accs, tiles, w, x_ptr, lane, i, chunks, polls,
    COUNT: tl.constexpr, FIRST: tl.constexpr, FIRST_BOX: tl.constexpr, RESULTS: tl.constexpr, TILES: tl.constexpr,
    more=(), MORE: tl.constexpr = 0,
):  # fmt: skip
    """Add the products of ``COUNT`` chunks of the operand, from chunk ``i`` on, to ``accs``. Returns the sums and ``polls``.

    ``more``: pointers at which to `peek`, ``MORE`` elements a thread, between the polls and the products; returned last.
    """
    column, W, zeros_ptr, error_ptr, launch_id, boxes = lane
    if TILES.weights == "streamed":  # before polling, so that the two L2 latencies overlap
        tiles = ()
        for r in gl.static_range(RESULTS):
            tiles = tiles + (load_tile(w, FIRST + r + i // chunks, i % chunks, TILES),)
    x = ()
    if TILES.alone:
        for j in gl.static_range(COUNT):
            x = x + (boxes[FIRST_BOX + i + j].load(TILES.right),)
        x = x + (polls,)
    else:
        pointers = ()
        for j in gl.static_range(COUNT):
            k = column + (i + j) % chunks * TILES.depth
            pointer = x_ptr + ((i + j) // chunks * W + k)
            if not TILES.even:
                pointer = gl.where(k < W, pointer, zeros_ptr + k % 8)
            pointers = pointers + (pointer,)
        x = poll(pointers, polls, error_ptr, launch_id, COUNT, TILES.polled, TILES.bits)
    seen = ()
    if MORE > 0:
        seen = peek(more, len(more), MORE, max(TILES.bits, 32))
    for j in gl.static_range(COUNT):
        sums = ()
        for r in gl.static_range(RESULTS):
            if TILES.weights == "streamed":
                tile = tiles[r]
            elif TILES.weights == "shared":
                tile = tiles[(FIRST + r) * chunks + i + j].load(TILES.left)
            else:
                tile = tiles[(FIRST + r) * chunks + i + j]
            if TILES.tensor:
                sums = sums + (mma(tile, x[j], accs[r]),)
            else:
                sums = sums + (accs[r] + gl.sum(tile.expand_dims(3) * x[j].expand_dims(1), 2),)
        accs = sums
    return accs, x[COUNT], seen


@jit
def partial(
    tiles, w, x_ptr, lane, polls,
    FIRST: tl.constexpr, FIRST_BOX: tl.constexpr, OPERANDS: tl.constexpr, RESULTS: tl.constexpr,
    ACC: tl.constexpr, TILES: tl.constexpr, more=(), MORE: tl.constexpr = 0,
):  # fmt: skip
    """Multiply the weights of the gates from FIRST on by the operand. Returns ``RESULTS`` [part, unit, sample], and ``polls``.

    With ``MORE``, also returns what is at the pointers ``more`` after the last poll (`multiply`).

    Forward: ``RESULTS`` gates times one operand. Backward: the sum of ``OPERANDS`` gates, each times an operand of that gate.
    ``x_ptr``: operand row of every sample; operands of different gates are W apart. ``lane``: columns, W, 8 zeros to read past
    W, error_ptr and launch_id for `poll`, and the boxes of `make_boxes`, of which the operands' begin at FIRST_BOX.
    """
    if TILES.alone:
        barrier()  # the operand handed on is visible to all warps
    accs = ()
    for _ in gl.static_range(RESULTS):
        accs = accs + (gl.full([TILES.parts, TILES.units, TILES.samples], 0, ACC, TILES.sums),)
    if TILES.weights == "streamed":
        chunks = count_chunks(w[4], TILES)
        for i in range(OPERANDS * chunks):
            accs, polls, _none = multiply(
                accs, tiles, w, x_ptr, lane, i, chunks, polls, 1, FIRST, FIRST_BOX, RESULTS, TILES
            )
        if MORE > 0:
            seen = peek(more, len(more), MORE, max(TILES.bits, 32))
    else:
        CHUNKS: tl.constexpr = TILES.chunks
        GROUP: tl.constexpr = TILES.group
        for i in gl.static_range(0, OPERANDS * CHUNKS, GROUP):
            accs, polls, seen = multiply(accs, tiles, w, x_ptr, lane, i, CHUNKS, polls,
                                         min(GROUP, OPERANDS * CHUNKS - i), FIRST, FIRST_BOX, RESULTS, TILES,
                                         more, MORE if i + GROUP >= OPERANDS * CHUNKS else 0)  # fmt: skip
    if MORE > 0:
        return accs, polls, seen
    else:
        return accs, polls


@jit
def summed(accs, RESULTS: tl.constexpr, ACC: tl.constexpr, TILES: tl.constexpr):
    """Sum the parts of `partial`. Returns blocks [unit, sample]. The caller calls `left` before the next product."""
    boxes = ()
    for r in gl.static_range(RESULTS):
        box = gl.allocate_shared_memory(ACC, [TILES.parts, TILES.units, TILES.samples], TILES.met)
        box.store(accs[r])
        boxes = boxes + (box,)
    barrier()
    blocks = ()
    for r in gl.static_range(RESULTS):
        blocks = blocks + (gl.sum(boxes[r].load(TILES.meeting), 0),)
    return blocks


@jit
def left(TILES: tl.constexpr):
    """Wait until all warps have read the shared memory of the parts, which the next product reuses."""
    if not TILES.alone:
        barrier()


@jit
def products(
    tiles, w, x_ptr, lane, polls,
    FIRST: tl.constexpr, FIRST_BOX: tl.constexpr, OPERANDS: tl.constexpr, RESULTS: tl.constexpr,
    ACC: tl.constexpr, TILES: tl.constexpr,
):  # fmt: skip
    """`partial` products, `summed`: ``RESULTS`` blocks [unit, sample], and ``polls``."""
    accs, polls = partial(tiles, w, x_ptr, lane, polls, FIRST, FIRST_BOX, OPERANDS, RESULTS, ACC, TILES)
    blocks = summed(accs, RESULTS, ACC, TILES)
    left(TILES)
    return blocks, polls


@jit
def make_boxes(first, COUNT: tl.constexpr, TILES: tl.constexpr):
    """If alone, shared memory ("boxes") for ``COUNT`` operands, each initialised with the block ``first``; else ()."""
    boxes = ()
    if TILES.alone:
        for _ in gl.static_range(COUNT):
            box = gl.allocate_shared_memory(first.dtype, [1, TILES.depth, TILES.samples], TILES.handed)
            box.store(first.expand_dims(0))
            boxes = boxes + (box,)
    return boxes


@jit
def hand_on(pointers, block, state, mask, boxes, BOX: tl.constexpr, TILES: tl.constexpr):
    """Store ``block`` where the lane polls it. If alone, also put ``state`` into its box, to be read after the next barrier."""
    if TILES.alone:
        gl.store(pointers, block, mask=mask)
        boxes[BOX].store(state.expand_dims(0))
    else:
        publish(pointers, block, mask, TILES.each, TILES.bits)
