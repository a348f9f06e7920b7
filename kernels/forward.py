"""The forward sweep: the whole time loop of a layer, both directions, in one launch.

A program computes a few units, with all their gates, for a few samples of one direction. At every step it polls h of the previous
step, all units of its samples (`poll`), multiplies it by its slice of W_hh (`tiles`) and applies the cell (`cell`). gx is loaded
one step ahead, so that the load overlaps with the exchange.

A tick is one exchange: a step has one, or two if the cell has two phases. A launch runs ticks [tick_begin, tick_end): all of them,
or only one if the programs of a lane cannot all run at the same time and so must not wait for each other.
"""

import triton.language as tl

from fusedrnn.kernels.language import gl, jit
from fusedrnn.kernels.launch import RUNTIME
from fusedrnn.kernels.noise import before_loop, of_step, updated
from fusedrnn.kernels.norm import gather_at, normalised, normalised_state, sizes_of
from fusedrnn.kernels.philox import kept_at, scaled
from fusedrnn.kernels.products import hand_on, make_boxes, partial, products, resident, slice_of, summed
from fusedrnn.kernels.tiles import columns, load_gates, place, rows_at, starts_anew, store_gates, widened


@jit
def biased(blocks, bias, FIRST: tl.constexpr, COUNT: tl.constexpr):
    """Add the biases of gates FIRST to FIRST + COUNT - 1 to their products ``blocks``, each [units, samples]."""
    sums = ()
    for g in gl.static_range(COUNT):
        sums = sums + (blocks[g] + bias[FIRST + g],)
    return sums


@jit(do_not_specialize=RUNTIME)
def forward_sweep(
    gx_ptr,       # (T, B, D, G*H) input-side pre-activations, b_ih included
    w_ptr,        # (D, G*H, H) recurrent weights
    b_ptr,        # (D, G*H) recurrent bias
    lengths_ptr,  # (B,) int32
    h0_ptr,       # (B, D, W), then 8 zeros, which are read past W; W: H padded to whole 16-byte loads
    c0_ptr,       # (D, B, H), read at resets
    anew_ptr,     # (T, B, D) int8, whether a sample starts anew before a step
    state_ptr,    # (D, B, H) on entry h before tick_begin, on exit h after the last tick
    kept_ptr,     # (D, B, H) the same for c, or for the block that a two-phase cell keeps for its second phase; accumulation dtype
    out_ptr,      # (T, B, D, W) written, every h_t; all bits one before the first launch
    late_ptr,     # (T, B, D, W) the same for the block that a two-phase cell exchanges for its second phase
    cells_ptr,    # (T, B, D, H) written, every c_t
    gates_ptr,    # (T, B, D, S*H) written if ``SAVE``, what the backward sweep reads
    dropped_ptr,  # (T, B, D, H) written, out after dropout
    seed_ptr,     # (1,) int64 seed of dropout
    noise_ptr,    # (1,) int64 seed of ``NOISE``
    gain_ptr,     # (D, G*H), with ``NORM``
    gain_c_ptr,   # (D, H), with ``NORM`` and c
    bias_c_ptr,   # (D, H)
    sums_ptr,     # (T, B, D, 1, or 3 with c, NORM) exchanged sums, accumulation dtype; all bits one before the launch, padding 0
    error_ptr,    # (1,) int32, set to launch_id on a timeout
    T, B, H, W, D, n_slices, n_tiles,
    lane_begin, tick_begin, tick_end, polls, launch_id,
    threshold, scale,  # of dropout, as bits (`dropout`)
    zone_h, zone_c, candidate_threshold, candidate_scale,  # of ``NOISE``, as bits (`noise`)
    CELL: tl.constexpr, HAS_BIAS: tl.constexpr, HAS_LENGTHS: tl.constexpr, RESETS: tl.constexpr, SAVE: tl.constexpr,
    NOISE: tl.constexpr,  # `noise.Modes`
    HEADS: tl.constexpr,  # of a direction
    NORM: tl.constexpr,  # layer normalisation (`norm`); then all programs of a lane run at once, and the weights are centred
    DROP: tl.constexpr,  # "": no dropout, "each": a mask per step, "shared": one mask for all steps
    DIGITS: tl.constexpr, ACC: tl.constexpr, TILES: tl.constexpr,
):  # fmt: skip
    """Program (slice, lane) computes ``TILES.units`` units with all their gates for ``TILES.samples`` samples of one direction."""
    G: tl.constexpr = CELL.gates
    S: tl.constexpr = CELL.saved
    LATE: tl.constexpr = CELL.late
    EARLY: tl.constexpr = G - LATE  # number of products in the first phase
    IO: tl.constexpr = out_ptr.dtype.element_ty

    d, back, one, first_unit, units, samples, own, row, state_own, x_row = place(
        lane_begin, n_slices, n_tiles, B, H, D, HEADS, TILES
    )
    w = slice_of(w_ptr + one * d * G * H * H, first_unit, one * H, one * H * H, H, TILES)
    tiles = resident(w, G, TILES)
    published = (units < W) & (samples < B)
    valid = own
    if HAS_LENGTHS:
        lengths = gl.load(lengths_ptr + samples, mask=samples < B, other=0)
        x_length = gl.load(lengths_ptr + x_row // D)
    bias = ()
    for g in gl.static_range(G):
        if HAS_BIAS:
            bias = bias + (gl.load(b_ptr + (d * G + g) * H + units, mask=units < H, other=0.0).to(ACC),)
        else:
            bias = bias + (gl.full([TILES.units, 1], 0, ACC, TILES.own),)

    if NORM > 0:
        gain = ()
        for g in gl.static_range(G):
            gain = gain + (gl.load(gain_ptr + (d * G + g) * H + units, mask=units < H, other=0.0).to(ACC),)
        KINDS: tl.constexpr = 3 if CELL.has_c else 1
        place_of_sums = gather_at(
            lane_begin, n_slices, n_tiles, B, D, polls, first_unit, units, samples, KINDS, NORM, TILES
        )
        sum_polls, error = place_of_sums[4], (error_ptr, launch_id)
        if CELL.has_c:
            gain_c = gl.load(gain_c_ptr + (d * H + units), mask=units < H, other=0.0).to(ACC)
            bias_c = gl.load(bias_c_ptr + (d * H + units), mask=units < H, other=0.0).to(ACC)
            unit_counts = sizes_of(first_unit, place_of_sums, one, H, ACC, TILES)
        inverse = 1.0 / (one * G * H).to(ACC)

    h = gl.load(state_ptr + state_own, mask=own, other=0.0).to(ACC)
    kept = h
    if CELL.has_c or LATE > 0:
        kept = gl.load(kept_ptr + state_own, mask=own, other=0.0)
    keep = own
    if DROP != "":
        seed = gl.load(seed_ptr)
    if DROP == "shared":
        keep = kept_at(seed, row * H + units, threshold)
    numbers = (zone_h, zone_c, candidate_threshold, candidate_scale)
    noise = before_loop(noise_ptr, row * H + units, numbers, NOISE, ACC)
    step = tick_begin // CELL.phases
    h_first, c_first = h, kept
    if RESETS:
        h_first = gl.load(h0_ptr + (row * W + units), mask=own, other=0.0).to(ACC)
        anew = starts_anew(anew_ptr, step, T, B, D, row, back, samples < B)
        x_anew = starts_anew(anew_ptr, step, T, B, D, x_row, back, x_row >= 0)
        h = gl.where(anew != 0, h_first, h)
        if CELL.has_c:
            c_first = gl.load(c0_ptr + state_own, mask=own, other=0.0).to(ACC)
            kept = gl.where(anew != 0, c_first, kept)
    zero = gl.full([TILES.units, TILES.samples], 0, IO, TILES.own)
    polls = gl.full([TILES.parts, TILES.depth, TILES.samples], 0, gl.int32, TILES.right) + polls
    boxes = make_boxes(h.to(IO), CELL.phases, TILES)
    RIGHT: tl.constexpr = TILES.right
    x_lane = (columns(H, RIGHT, 1, TILES), W, h0_ptr + one * D * B * W, error_ptr, launch_id, boxes)
    next_gx = load_gates(gx_ptr, rows_at(step, T, B, D, row, back) * (G * H) + units, H, own & (step < T), G)
    for tick in range(tick_begin, tick_end):
        step = tick // CELL.phases
        t = step + back * (T - 1 - 2 * step)
        rows = rows_at(step, T, B, D, row, back)
        own_rows = rows * H + units
        gx = next_gx
        next_step = (tick + 1) // CELL.phases
        next_rows = rows_at(next_step, T, B, D, row, back)
        next_gx = load_gates(gx_ptr, next_rows * (G * H) + units, H, own & (next_step < T), G)
        is_first = (x_row < 0) | (step == 0)
        if HAS_LENGTHS:
            valid = own & (t < lengths)
            is_first = is_first | ((back == 1) & (t == x_length - 1))
        if RESETS:
            is_first = is_first | (x_anew != 0)
            next_anew = starts_anew(anew_ptr, next_step, T, B, D, row, back, samples < B)
            x_anew = starts_anew(anew_ptr, next_step, T, B, D, x_row, back, x_row >= 0)
        x_ptr = gl.where(is_first, h0_ptr + x_row * W, out_ptr + rows_at(step - 1, T, B, D, x_row, back) * W)

        if LATE > 0 and tick % 2 == 0:
            a, polls = products(tiles, w, x_ptr, x_lane, polls, 0, 0, 1, EARLY, ACC, TILES)
            exchanged, kept, saved = CELL.step(widened(gx, G, ACC), biased(a, bias, 0, EARLY), h, kept, 1.0, DIGITS)
            late = gl.where(valid, exchanged.to(IO), zero)
            hand_on(late_ptr + rows * W + units, late, late, published, boxes, 1, TILES)
            if SAVE:
                store_gates(gates_ptr, rows * (S * H) + units, H, own, saved, 0, S - LATE)
        else:
            if LATE > 0:
                late_x = late_ptr + rows_at(step, T, B, D, x_row, back) * W
                last, polls = products(tiles, w, late_x, x_lane, polls, EARLY, 1, 1, LATE, ACC, TILES)
                weight_h, weight_c, factor = of_step(noise, own_rows, numbers, NOISE, ACC)
                sums = biased(last, bias, EARLY, LATE)
                new, late_saved = CELL.step_late(widened(gx, G, ACC), sums, h, kept, factor, DIGITS)
            else:
                if NORM > 0:
                    accs, polls = partial(tiles, w, x_ptr, x_lane, polls, 0, 0, 1, G, ACC, TILES)
                    last = summed(accs, G, ACC, TILES)
                else:
                    last, polls = products(tiles, w, x_ptr, x_lane, polls, 0, 0, 1, G, ACC, TILES)
                weight_h, weight_c, factor = of_step(noise, own_rows, numbers, NOISE, ACC)
                wide_gx = widened(gx, G, ACC)
                if NORM > 0:
                    of_sums = sums_ptr
                    if NORM > 1:
                        of_sums = sums_ptr + one * step * B * D * (KINDS * NORM)
                    sums, sum_polls = normalised(
                        last, gain, bias, inverse, of_sums, place_of_sums, sum_polls, error, G, ACC, KINDS, NORM, TILES
                    )
                else:
                    sums = biased(last, bias, 0, G)
                new, c, late_saved = CELL.step(wide_gx, sums, h, kept, factor, DIGITS)
                if NORM > 0 and CELL.has_c:
                    seen, sum_polls = normalised_state(
                        c,
                        gain_c,
                        bias_c,
                        units < H,
                        unit_counts,
                        of_sums,
                        place_of_sums,
                        sum_polls,
                        error,
                        KINDS,
                        NORM,
                        TILES,
                    )
                    new = CELL.output(late_saved, seen, DIGITS)
            if NOISE.h != "":
                new = updated(new, h, weight_h, NOISE.h)
            new = new.to(IO)
            h = gl.where(valid, new.to(ACC), h)
            begin = h  # with which the next step begins
            if RESETS:
                begin = gl.where(next_anew != 0, h_first, h)
            hand_on(out_ptr + rows * W + units, gl.where(valid, new, zero), begin.to(IO), published, boxes, 0, TILES)
            if CELL.has_c:
                if NOISE.c != "":
                    c = updated(c, kept, weight_c, NOISE.c)
                kept = gl.where(valid, c, kept)
                gl.store(cells_ptr + own_rows, gl.where(valid, kept, 0.0).to(IO), mask=own)
                if RESETS:
                    kept = gl.where(next_anew != 0, c_first, kept)
            if SAVE:
                FIRST: tl.constexpr = S - LATE if LATE > 0 else 0
                store_gates(gates_ptr, rows * (S * H) + units, H, own, late_saved, FIRST, S - FIRST)
            if DROP == "each":
                keep = kept_at(seed, own_rows, threshold)
            if DROP != "":
                gl.store(dropped_ptr + own_rows, scaled(h, valid & keep, scale, ACC).to(IO), mask=own)
            h = begin

    gl.store(state_ptr + state_own, h.to(IO), mask=own)
    if CELL.has_c or LATE > 0:
        gl.store(kept_ptr + state_own, kept, mask=own)
