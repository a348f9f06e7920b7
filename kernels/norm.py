"""Layer normalisation in the sweeps: means over all units of a sample, of which every program has a few.

The programs of a lane exchange sums (`poll`), one number a sample and program. The recurrent weights are centred before the sweep:
their columns have mean zero over the rows of all gates, and so have their products with h, of which only the squares are summed.

The constexpr ``NORM`` is the number of programs of a lane, padded to a power of two and at least 4 (whole 16-byte loads), the
padding being zeros; 1 for a single program, which exchanges nothing; 0 without normalisation.
"""

import triton.language as tl
from triton.runtime.jit import constexpr_function

from fusedrnn.kernels.language import gl, jit
from fusedrnn.kernels.peek import of_first
from fusedrnn.kernels.poll import poll, publish
from fusedrnn.kernels.products import left

EPS = tl.constexpr(1e-5)  # that of `fusedrnn.reference.norm`
TOGETHER = tl.constexpr(16)
"""Sums of a sample, at most, that a thread polls together, of one kind or of two: more loads instead of more shuffles."""


@constexpr_function
def a_row(norm, kinds):
    """Sums of one kind that a thread polls together."""
    return min(norm, TOGETHER.value // min(kinds, 2))


@constexpr_function
def gathered_by(norm, tiles, kinds):
    """Layout of blocks [NORM, samples]: a thread's samples are those of its own units."""
    return gl.BlockedLayout([a_row(norm, kinds), 1], [tiles.lanes, 32 // tiles.lanes], [1, tiles.warps], [0, 1])


@jit
def gather_at(
    lane_begin, n_slices, n_tiles, B, D, polls, first_unit, units, samples,
    KINDS: tl.constexpr, NORM: tl.constexpr, TILES: tl.constexpr,
):  # fmt: skip
    """Where a program publishes its sums and polls those of its lane, in a step's part of (T, B, D, KINDS, NORM).

    Returns offsets [units, samples], the same for all units, and a mask of one unit and the samples inside B; offsets
    [NORM, samples] with samples clamped to the last one, the numbers of the programs [NORM, 1], and ``polls`` for the first poll.
    """
    lane = lane_begin + gl.program_id(0) // n_slices
    LAYOUT: tl.constexpr = gathered_by(NORM, TILES, KINDS)
    WIDTH: tl.constexpr = KINDS * NORM
    to = ((samples + units * 0).to(gl.int64) * D + lane // n_tiles) * WIDTH + gl.program_id(0) % n_slices
    programs = gl.arange(0, NORM, layout=gl.SliceLayout(1, LAYOUT)).expand_dims(1)
    read = gl.arange(0, TILES.samples, layout=gl.SliceLayout(0, LAYOUT)) + (lane % n_tiles) * TILES.samples
    at = (gl.minimum(read, B - 1).expand_dims(0).to(gl.int64) * D + lane // n_tiles) * WIDTH + programs
    polls = gl.full([NORM, TILES.samples], 0, gl.int32, LAYOUT) + polls
    return to, (units == first_unit) & (samples < B), at, programs, polls


@jit
def publish_sums(
    sums_ptr, place, parts, mask, FIRST: tl.constexpr, COUNT: tl.constexpr, NORM: tl.constexpr, TILES: tl.constexpr
):
    """Publish a program's ``parts``, [1, samples] or the same for all units, as kinds from FIRST on; ``sums_ptr``: of the step."""
    for i in gl.static_range(COUNT):
        publish(sums_ptr + ((FIRST + i) * NORM + place[0]), parts[i], place[1] & mask, 1, max(TILES.bits, 32))


@constexpr_function
def a_thread(norm, tiles, kinds):
    """Elements of a block [NORM, samples] that a thread polls."""
    return max(a_row(norm, kinds), norm // tiles.lanes)


@jit
def addresses(sums_ptr, place, FIRST: tl.constexpr, COUNT: tl.constexpr, NORM: tl.constexpr):
    """Where the parts of all programs are: ``COUNT`` blocks [NORM, samples]."""
    pointers = ()
    for i in gl.static_range(COUNT):
        pointers = pointers + (sums_ptr + ((FIRST + i) * NORM + place[2]),)
    return pointers


@jit
def poll_sums(
    sums_ptr, place, polls, error,
    FIRST: tl.constexpr, COUNT: tl.constexpr, KINDS: tl.constexpr, NORM: tl.constexpr, TILES: tl.constexpr,
):  # fmt: skip
    """Poll the parts of all programs: ``COUNT`` blocks [NORM, samples], then ``polls``. ``error``: error_ptr, launch_id."""
    pointers = addresses(sums_ptr, place, FIRST, COUNT, NORM)
    return poll(pointers, polls, error[0], error[1], COUNT, a_thread(NORM, TILES, KINDS), max(TILES.bits, 32))


@jit
def over_programs(x, NORM: tl.constexpr, TILES: tl.constexpr):
    """Sum [NORM, samples] over the programs, by fours first; [1, samples] in the layout of the program's own."""
    x = gl.sum(gl.reshape(x, [NORM // 4, 4, TILES.samples]), 1)
    return gl.convert_layout(gl.sum(x, 0), gl.SliceLayout(0, TILES.own)).expand_dims(0)


@jit
def two_over_programs(x, y, NORM: tl.constexpr, TILES: tl.constexpr):
    """The same for two blocks."""
    x = gl.sum(gl.reshape(x, [NORM // 4, 4, TILES.samples]), 1)
    y = gl.sum(gl.reshape(y, [NORM // 4, 4, TILES.samples]), 1)
    x, y = sums_of_two(x, y, 0)
    OWN: tl.constexpr = gl.SliceLayout(0, TILES.own)
    return gl.convert_layout(x, OWN).expand_dims(0), gl.convert_layout(y, OWN).expand_dims(0)


@jit
def normalised(
    products, gain, bias, inverse, sums_ptr, place, polls, error,
    G: tl.constexpr, ACC: tl.constexpr, KINDS: tl.constexpr, NORM: tl.constexpr, TILES: tl.constexpr,
):  # fmt: skip
    """gain * norm(product) + bias for the ``G`` centred products of a step, each [units, samples]. Returns them and ``polls``.

    ``inverse``: 1 / (G * H).
    """
    squares = products[0] * products[0]
    for g in gl.static_range(1, G):
        squares += products[g] * products[g]
    total = gl.sum(squares, 0).expand_dims(0)
    if NORM > 1:
        publish_sums(sums_ptr, place, (total,), place[1], 0, 1, NORM, TILES)
    left(TILES)
    if NORM > 1:
        parts, polls = poll_sums(sums_ptr, place, polls, error, 0, 1, KINDS, NORM, TILES)
        total = over_programs(parts, NORM, TILES)
    scale = tl.rsqrt(total * inverse + EPS)
    sums = ()
    for g in gl.static_range(G):
        sums = sums + (gain[g] * scale * products[g] + bias[g],)
    return sums, polls


@jit
def _add_two(a, b, c, d):
    return a + c, b + d


@jit
def sums_of_two(x, y, AXIS: tl.constexpr):
    """The sums of both along an axis, whose shuffles overlap."""
    return gl.reduce((x, y), AXIS, _add_two)


@jit
def sizes_of(first_unit, place, one, H, ACC: tl.constexpr, TILES: tl.constexpr):
    """Units inside H of this program and of all programs, [NORM, 1], and 1 / H; in ``ACC``."""
    mine = gl.minimum(H - first_unit, TILES.units)
    each = gl.minimum(H - place[3] * TILES.units, TILES.units)
    return (one * mine).to(ACC), gl.where(each > 0, each, 0).to(ACC), 1.0 / (one * H).to(ACC)


@jit
def normalised_state(
    c, gain, bias, inside, sizes, sums_ptr, place, polls, error,
    KINDS: tl.constexpr, NORM: tl.constexpr, TILES: tl.constexpr,
):  # fmt: skip
    """gain * norm(c) + bias of a step, [units, samples]. Returns it and ``polls``. ``inside``: units < H.

    A program publishes the mean of its units and the sum of squares about it. They are combined about the reader's own mean, which
    is near enough to that of all units that no digits are lost.
    """
    mine, each, inverse = sizes
    first = of_first(c, TILES.each, TILES.lanes, max(TILES.bits, 32))
    apart = gl.where(inside, c - first, 0.0)
    offset, squares = sums_of_two(apart, apart * apart, 0)
    offset = offset * (1.0 / mine)
    squares = (squares - offset * offset * mine).expand_dims(0)
    mean = first + offset.expand_dims(0)
    variance = squares * inverse
    if NORM > 1:
        publish_sums(sums_ptr, place, (mean, squares), place[1], 1, 2, NORM, TILES)
        about = gl.sum(mean, 0) * (1.0 / TILES.units)
        about = gl.convert_layout(about, gl.SliceLayout(0, gathered_by(NORM, TILES, KINDS))).expand_dims(0)
        means, all_squares, polls = poll_sums(sums_ptr, place, polls, error, 1, 2, KINDS, NORM, TILES)
        offset = means - about
        weighted = each * offset
        away, variance = two_over_programs(weighted, all_squares + weighted * offset, NORM, TILES)
        away = away * inverse
        variance = variance * inverse - away * away
        mean = mean + away
    return gain * ((c - mean) * tl.rsqrt(variance + EPS)) + bias, polls
