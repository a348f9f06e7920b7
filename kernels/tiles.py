"""The product of both sweeps: where values lie, the weights' places, the exchanged operand, the meeting of the warps' parts.

A program multiplies its slice of weights, a few units of each gate, by the exchanged state (forward) or gradients (backward) of
its samples. K, the width of the product, is dealt out to the warps: operands have a leading dimension of one part a warp. Both
operands lie in registers in the order that the product takes, neighbours of K in one thread, so that every load of the operand is
16 bytes. The parts meet once, through shared memory.

Weights stay in registers where they fit, else in shared memory, else they are loaded at every step, from the first-level cache or
the second. A layer of few units is one program's alone: its units are dealt out to the warps instead of K, and what others would
poll is handed on in shared memory.
"""

from typing import Any, NamedTuple

import triton.language as tl

from fusedrnn.kernels.language import barrier, gl, jit, mma
from fusedrnn.kernels.poll import poll, publish


class Tiles(NamedTuple):
    """How a program is cut, passed to the kernels whole, as the constant ``TILES``.

    Attributes:
        units: of each gate; samples: columns of the operand.
        warps: among which K is dealt out, or the units of a program that is alone.
        depth: of a chunk: columns of K in a part that are loaded together.
        chunks: that cover K in every part; 0 for streamed weights, whose loop runs as long as H needs.
        group: chunks of the operand that are polled together.
        weights: "alone" (in registers, all units in one program), "registers", "shared" or "streamed".
        tensor: whether the product is the tensor cores' (16-bit types, TF32), else of single multiplications and additions.
        even: whether the chunks cover a row of the operand and nothing more.
        bits: of a number.
    """

    units: int
    samples: int
    warps: int
    depth: int
    chunks: int
    group: int
    weights: str
    tensor: bool
    even: bool
    bits: int

    @property
    def cache_key(self) -> str:
        """What Triton's cache on disk knows a constant by: without it, edited layouts would be served stale."""
        found = (
            self.sums,
            self.left,
            self.right,
            self.stored,
            self.handed,
            self.meeting,
            self.met,
            self.polled,
            self.each,
        )
        return "-".join(map(str, (*self, *found)))

    @property
    def alone(self) -> bool:
        """Whether nothing is exchanged between programs."""
        return self.weights == "alone"

    @property
    def parts(self) -> int:
        """Into how many K is dealt out."""
        return 1 if self.alone else self.warps

    @property
    def sums(self) -> Any:
        """Layout of the accumulators [part, unit, sample]."""
        if self.tensor:
            return gl.NVMMADistributedLayout([2, 0], [self.parts, self.warps // self.parts, 1], [1, 16, 8])
        return gl.SliceLayout(2, self.terms)

    @property
    def terms(self) -> Any:
        """Layout of the single products [part, unit, k, sample], all k of a chunk in one thread."""
        across = self.warps // self.parts
        each = [1, self.units // (8 * across), self.depth, self.samples // 4]
        return gl.BlockedLayout(each, [1, 8, 1, 4], [self.parts, across, 1, 1], [2, 1, 3, 0])

    @property
    def left(self) -> Any:
        """Layout of weights [part, unit, k]; a thread's loads of 16 bytes are the product's own order with this width."""
        return gl.DotOperandLayout(0, self.sums, 128 // self.bits) if self.tensor else gl.SliceLayout(3, self.terms)

    @property
    def stored(self) -> Any:
        """Layout of weights in shared memory: pieces of 16 bytes, so placed that eight rows' lie in different banks."""
        return gl.SwizzledSharedLayout(128 // self.bits, 1, 8, [2, 1, 0])

    @property
    def handed(self) -> Any:
        """Likewise of an operand [part, k, sample] that is handed on in shared memory."""
        return gl.SwizzledSharedLayout(128 // self.bits, 1, 8, [1, 2, 0])

    @property
    def right(self) -> Any:
        """Layout of the operand [part, k, sample]."""
        return gl.DotOperandLayout(1, self.sums, 128 // self.bits) if self.tensor else gl.SliceLayout(1, self.terms)

    @property
    def polled(self) -> int:
        """Elements a thread of a chunk of the operand."""
        return self.depth * self.samples // (32 if self.tensor else 4)

    @property
    def each(self) -> int:
        """Units a thread, neighbours in memory."""
        return max(1, self.units * self.samples // (32 * self.warps))

    @property
    def meeting(self) -> Any:
        """Layout in which a thread adds up all parts of its units."""
        lanes = self.units // self.each
        return gl.BlockedLayout([self.parts, self.each, 1], [1, lanes, 32 // lanes], [1, 1, self.warps], [1, 2, 0])

    @property
    def met(self) -> Any:
        """Layout of the parts in shared memory: a thread's units are neighbours, in banks of their own for every sample."""
        if self.alone:
            return gl.SwizzledSharedLayout(4, 1, 8, [1, 2, 0])
        return gl.SwizzledSharedLayout(1, 1, 1, [2, 1, 0])

    @property
    def own(self) -> Any:
        """Layout of a program's units and samples, [unit, sample]."""
        return gl.SliceLayout(0, self.meeting)


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
def place(lane_begin, n_slices, n_tiles, B, H, D, TILES: tl.constexpr):
    """Where program (slice, lane) is.

    Direction; a 64-bit 1; first unit; units and samples, which of them exist, their rows in (B, D) and places in (D, B, H); and
    the operand's rows, past B those of the last sample.
    """
    lane = lane_begin + gl.program_id(0) // n_slices
    d = lane // n_tiles
    one = d.to(gl.int64) * 0 + 1
    first_unit = (gl.program_id(0) % n_slices) * TILES.units
    first_sample = (lane % n_tiles) * TILES.samples
    units = (gl.arange(0, TILES.units, layout=gl.SliceLayout(1, TILES.own)) + first_unit).expand_dims(1)
    samples = (gl.arange(0, TILES.samples, layout=gl.SliceLayout(0, TILES.own)) + first_sample).expand_dims(0)
    RIGHT: tl.constexpr = TILES.right
    x_row = one * gl.minimum(along(TILES.samples, RIGHT, 2) + first_sample, B - 1) * D + d
    own, row, state_own = (units < H) & (samples < B), one * samples * D + d, (one * d * B + samples) * H + units
    return d, one, first_unit, units, samples, own, row, state_own, x_row


@jit
def rows_at(step, T, B, D, row, d):
    """Where ``row``s of (B, D) are in (T, B, D) at a step of direction ``d``; the reverse one takes its steps from T - 1 back."""
    return (step + d * (T - 1 - 2 * step)).to(gl.int64) * B * D + row


@jit
def count_chunks(H, TILES: tl.constexpr):
    """Chunks of streamed weights that cover H in every part."""
    return (H + TILES.parts * TILES.depth - 1) // (TILES.parts * TILES.depth)


@jit
def columns(H, layout: tl.constexpr, DIM: tl.constexpr, TILES: tl.constexpr):
    """Columns of the first chunk of every part, K along dimension ``DIM``; the next chunk's are ``TILES.depth`` further on."""
    if TILES.weights == "streamed":
        width = count_chunks(H, TILES) * TILES.depth
    else:
        width = TILES.chunks * TILES.depth
    return along(TILES.parts, layout, 0) * width + along(TILES.depth, layout, DIM)


@jit
def slice_of(w_ptr, first_unit, row_stride, gate_stride, H, TILES: tl.constexpr):
    """A program's slice of weights: what `load_tile` needs to find them."""
    LEFT: tl.constexpr = TILES.left
    units = along(TILES.units, LEFT, 1) + first_unit
    return w_ptr + units * row_stride, units < H, columns(H, LEFT, 2, TILES), gate_stride, H


@jit
def load_tile(w, gate, chunk, TILES: tl.constexpr):
    """A chunk of the slice ``w`` of a gate, [part, unit, k]; zeros outside H."""
    rows, there, column, gate_stride, H = w
    k = column + chunk * TILES.depth
    return gl.load(rows + (gate * gate_stride + k), mask=there & (k < H), other=0.0)


@jit
def resident(w, GATES: tl.constexpr, TILES: tl.constexpr):
    """The slice's chunks, gate by gate, in their place for the whole time loop; none if they are streamed."""
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
):  # fmt: skip
    """The sums with the products of ``COUNT`` chunks of the operand from chunk ``i`` on; and the polls left."""
    column, W, zeros_ptr, error_ptr, launch_id, boxes = lane
    if TILES.weights == "streamed":  # before the polls, so that both ways from the second-level cache are gone at once
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
    return accs, x[COUNT]


@jit
def products(
    tiles, w, x_ptr, lane, polls,
    FIRST: tl.constexpr, FIRST_BOX: tl.constexpr, OPERANDS: tl.constexpr, RESULTS: tl.constexpr,
    ACC: tl.constexpr, TILES: tl.constexpr,
):  # fmt: skip
    """Products of gates from FIRST on: ``RESULTS`` gates times one operand, or the sum of ``OPERANDS`` gates times their own.

    The operand of every sample is at ``x_ptr``, a gate W after the one before; ``lane``: columns, W, eight zeros that are read
    past W, what `poll` needs, and the boxes of `make_boxes`, of which the operands are those from FIRST_BOX on. Returns
    ``RESULTS`` blocks [unit, sample], and the polls left.
    """
    if TILES.alone:
        barrier()  # what was handed on is there
    accs = ()
    for _ in gl.static_range(RESULTS):
        accs = accs + (gl.full([TILES.parts, TILES.units, TILES.samples], 0, ACC, TILES.sums),)
    if TILES.weights == "streamed":
        chunks = count_chunks(w[4], TILES)
        for i in range(OPERANDS * chunks):
            accs, polls = multiply(accs, tiles, w, x_ptr, lane, i, chunks, polls, 1, FIRST, FIRST_BOX, RESULTS, TILES)
    else:
        CHUNKS: tl.constexpr = TILES.chunks
        GROUP: tl.constexpr = TILES.group
        for i in gl.static_range(0, OPERANDS * CHUNKS, GROUP):
            accs, polls = multiply(accs, tiles, w, x_ptr, lane, i, CHUNKS, polls,
                                   min(GROUP, OPERANDS * CHUNKS - i), FIRST, FIRST_BOX, RESULTS, TILES)  # fmt: skip
    boxes = ()
    for r in gl.static_range(RESULTS):
        box = gl.allocate_shared_memory(ACC, [TILES.parts, TILES.units, TILES.samples], TILES.met)
        box.store(accs[r])
        boxes = boxes + (box,)
    barrier()
    blocks = ()
    for r in gl.static_range(RESULTS):
        blocks = blocks + (gl.sum(boxes[r].load(TILES.meeting), 0),)
    if not TILES.alone:
        barrier()  # the next step's parts go where these lay
    return blocks, polls


@jit
def make_boxes(first, COUNT: tl.constexpr, TILES: tl.constexpr):
    """Boxes for ``COUNT`` operands of a program that is alone, each with the block ``first`` in it; else none."""
    boxes = ()
    if TILES.alone:
        for _ in gl.static_range(COUNT):
            box = gl.allocate_shared_memory(first.dtype, [1, TILES.depth, TILES.samples], TILES.handed)
            box.store(first.expand_dims(0))
            boxes = boxes + (box,)
    return boxes


@jit
def hand_on(pointers, block, state, mask, boxes, BOX: tl.constexpr, TILES: tl.constexpr):
    """Store a block where the lane polls it. A program that is alone finds ``state`` in its box, after the next barrier."""
    if TILES.alone:
        gl.store(pointers, block, mask=mask)
        boxes[BOX].store(state.expand_dims(0))
    else:
        publish(pointers, block, mask, TILES.each, TILES.bits)


@jit
def load_gates(ptr, offsets, H, mask, COUNT: tl.constexpr):
    """``COUNT`` blocks that lie H apart, as they are stored; zeros where masked."""
    blocks = ()
    for i in gl.static_range(COUNT):
        blocks = blocks + (gl.load(ptr + offsets + i * H, mask=mask, other=0.0),)
    return blocks


@jit
def store_gates(ptr, offsets, H, mask, blocks, FIRST: tl.constexpr, COUNT: tl.constexpr):
    """The inverse: block i at slot FIRST + i."""
    for i in gl.static_range(COUNT):
        gl.store(ptr + offsets + (FIRST + i) * H, blocks[i].to(ptr.dtype.element_ty), mask=mask)


@jit
def widened(blocks, COUNT: tl.constexpr, ACC: tl.constexpr):
    """Blocks in the accumulation dtype. Not where they are loaded: that would wait for the loads there."""
    wide = ()
    for i in gl.static_range(COUNT):
        wide = wide + (blocks[i].to(ACC),)
    return wide
