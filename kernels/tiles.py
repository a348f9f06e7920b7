"""The tiles of a program: their sizes and layouts, the place of a program, and the gates of its units and samples.

A program multiplies its slice of weights, a few units of each gate, by the exchanged state (forward) or gradients (backward) of
its samples. K, the inner dimension of the product, is split over the warps: operands have a leading dimension with one part per
warp. Both operands are in registers in the layout of the product, with adjacent columns of K in one thread, so that every load of
the operand is 16 bytes.
"""

from typing import Any, NamedTuple

import triton.language as tl

from fusedrnn.kernels.language import gl, jit


class Tiles(NamedTuple):
    """Tile sizes and layouts of a program, passed to the kernels as the constexpr ``TILES``.

    Attributes:
        units: units of each gate; samples: columns of the operand.
        warps: warps of a program; they split K, or the units if the program is alone.
        depth: width of a chunk: columns of K in a part that are loaded together.
        chunks: chunks that cover K in every part; 0 for streamed weights, whose loop depends on H.
        group: chunks of the operand that are polled together.
        weights: "alone" (in registers, all units in one program), "registers", "shared" or "streamed".
        tensor: whether the product uses tensor cores (16-bit types, TF32), else elementwise multiplications and additions.
        even: whether the chunks cover exactly one row of the operand.
        bits: bits per element.
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
        """Key of this constexpr in Triton's disk cache; covers the layouts, so that an edit of them leads to a recompilation."""
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
        """Whether one program has all units, so that programs exchange nothing."""
        return self.weights == "alone"

    @property
    def parts(self) -> int:
        """Number of parts that K is split into."""
        return 1 if self.alone else self.warps

    @property
    def sums(self) -> Any:
        """Layout of the accumulators [part, unit, sample]."""
        if self.tensor:
            return gl.NVMMADistributedLayout([2, 0], [self.parts, self.warps // self.parts, 1], [1, 16, 8])
        return gl.SliceLayout(2, self.terms)

    @property
    def terms(self) -> Any:
        """Layout of the elementwise products [part, unit, k, sample], all k of a chunk in one thread."""
        across = self.warps // self.parts
        each = [1, self.units // (8 * across), self.depth, self.samples // 4]
        return gl.BlockedLayout(each, [1, 8, 1, 4], [self.parts, across, 1, 1], [2, 1, 3, 0])

    @property
    def left(self) -> Any:
        """Layout of weights [part, unit, k]; with this width of k, a thread's 16-byte loads are in the order of the product."""
        return gl.DotOperandLayout(0, self.sums, 128 // self.bits) if self.tensor else gl.SliceLayout(3, self.terms)

    @property
    def stored(self) -> Any:
        """Layout of weights in shared memory: 16-byte vectors, swizzled so that those of eight rows are in different banks."""
        return gl.SwizzledSharedLayout(128 // self.bits, 1, 8, [2, 1, 0])

    @property
    def handed(self) -> Any:
        """The same for an operand [part, k, sample] that is handed on in shared memory."""
        return gl.SwizzledSharedLayout(128 // self.bits, 1, 8, [1, 2, 0])

    @property
    def right(self) -> Any:
        """Layout of the operand [part, k, sample]."""
        return gl.DotOperandLayout(1, self.sums, 128 // self.bits) if self.tensor else gl.SliceLayout(1, self.terms)

    @property
    def polled(self) -> int:
        """Elements per thread of a chunk of the operand."""
        return self.depth * self.samples // (32 if self.tensor else 4)

    @property
    def each(self) -> int:
        """Units per thread, contiguous in memory."""
        return max(1, self.units * self.samples // (32 * self.warps))

    @property
    def meeting(self) -> Any:
        """Layout [part, unit, sample] of the reduction: a thread has all parts of its units."""
        return gl.BlockedLayout(
            [self.parts, self.each, 1], [1, self.lanes, 32 // self.lanes], [1, 1, self.warps], [1, 2, 0]
        )

    @property
    def lanes(self) -> int:
        """Threads of a warp that have units of the same sample."""
        return self.units // self.each

    @property
    def met(self) -> Any:
        """Layout of the parts in shared memory; if alone, a thread's units are contiguous, swizzled over the banks by sample."""
        if self.alone:
            return gl.SwizzledSharedLayout(4, 1, 8, [1, 2, 0])
        return gl.SwizzledSharedLayout(1, 1, 1, [2, 1, 0])

    @property
    def own(self) -> Any:
        """Layout [unit, sample] of a program's units and samples."""
        return gl.SliceLayout(0, self.meeting)


@jit
def along(SIZE: tl.constexpr, layout: tl.constexpr, DIM: tl.constexpr):
    """0 to SIZE - 1 along dimension DIM of three; the others have size 1."""
    if DIM == 0:
        return gl.arange(0, SIZE, layout=gl.SliceLayout(1, gl.SliceLayout(2, layout))).expand_dims(1).expand_dims(2)
    elif DIM == 1:
        return gl.arange(0, SIZE, layout=gl.SliceLayout(0, gl.SliceLayout(2, layout))).expand_dims(0).expand_dims(2)
    else:
        return gl.arange(0, SIZE, layout=gl.SliceLayout(0, gl.SliceLayout(1, layout))).expand_dims(0).expand_dims(1)


@jit
def place(lane_begin, n_slices, n_tiles, B, H, D, HEADS: tl.constexpr, TILES: tl.constexpr):
    """Indices of program (slice, lane). ``D`` counts the ``HEADS`` of all directions, as if each were one.

    Returns the head, its direction, an int64 1 (for 64-bit offsets), the first unit, units [units, 1], samples [1, samples], the
    mask of those inside H and B, their rows in (B, D), their offsets in (D, B, H), and the operand's rows in (B, D), clamped to the
    last sample.
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
    return d, d // HEADS, one, first_unit, units, samples, own, row, state_own, x_row


@jit
def rows_at(step, T, B, D, row, back):
    """Rows in (T, B, D) at ``step`` of direction ``back`` for ``row``s in (B, D). Direction 1 runs from t = T - 1 to 0."""
    return (step + back * (T - 1 - 2 * step)).to(gl.int64) * B * D + row


@jit
def starts_anew(anew_ptr, step, T, B, D, row, back, mask):
    """Load (T, B, D) int8, whether the samples of ``row``s in (B, D) start anew before ``step``; 0 where masked or not in T."""
    return gl.load(anew_ptr + rows_at(step, T, B, D, row, back), mask=mask & (step < T) & (step >= 0), other=0)


@jit
def count_chunks(H, TILES: tl.constexpr):
    """Number of chunks per part that cover H, for streamed weights."""
    return (H + TILES.parts * TILES.depth - 1) // (TILES.parts * TILES.depth)


@jit
def columns(H, layout: tl.constexpr, DIM: tl.constexpr, TILES: tl.constexpr):
    """Columns of K of the first chunk of every part, along dimension ``DIM``; the next chunk starts ``TILES.depth`` later."""
    if TILES.weights == "streamed":
        width = count_chunks(H, TILES) * TILES.depth
    else:
        width = TILES.chunks * TILES.depth
    return along(TILES.parts, layout, 0) * width + along(TILES.depth, layout, DIM)


@jit
def load_gates(ptr, offsets, H, mask, COUNT: tl.constexpr):
    """Load ``COUNT`` blocks that are H apart, in the storage dtype; zeros where masked."""
    blocks = ()
    for i in gl.static_range(COUNT):
        blocks = blocks + (gl.load(ptr + offsets + i * H, mask=mask, other=0.0),)
    return blocks


@jit
def store_gates(ptr, offsets, H, mask, blocks, FIRST: tl.constexpr, COUNT: tl.constexpr):
    """Store ``COUNT`` blocks H apart: block i at position FIRST + i."""
    for i in gl.static_range(COUNT):
        gl.store(ptr + offsets + (FIRST + i) * H, blocks[i].to(ptr.dtype.element_ty), mask=mask)


@jit
def widened(blocks, COUNT: tl.constexpr, ACC: tl.constexpr):
    """Convert blocks to ``ACC``. Done where they are used: directly after the load it would wait for the load."""
    wide = ()
    for i in gl.static_range(COUNT):
        wide = wide + (blocks[i].to(ACC),)
    return wide
