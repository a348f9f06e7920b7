"""The backward sweep: the time loop of a layer from the last step to the first, both directions, in one launch.

Computes ``dgates``, the gradients of the pre-activations of every step, and the gradients of h_0 and c_0. A program accumulates dh
of its units: at every step it polls the dgates that the programs of its lane have written and multiplies them by its columns of
W_hh. The gradients of weights, biases and input are matrix products over all steps, computed after the sweep.
"""

import triton.language as tl

from fusedrnn.kernels.language import gl, jit
from fusedrnn.kernels.launch import RUNTIME
from fusedrnn.kernels.noise import before_loop, of_step
from fusedrnn.kernels.philox import kept_at, scaled
from fusedrnn.kernels.products import hand_on, make_boxes, products, resident, slice_of
from fusedrnn.kernels.tiles import columns, load_gates, place, rows_at, starts_anew, widened


@jit
def _having(step, T, back, own, lengths, HAS_LENGTHS: tl.constexpr):
    """Mask of the program's elements (``own``) for which ``step`` exists: step >= 0 and t inside the sample's length."""
    having = own & (step >= 0)
    if HAS_LENGTHS:
        having = having & (step + back * (T - 1 - 2 * step) < lengths)
    return having


@jit
def _inputs(
    read, step, own, lengths,
    CELL: tl.constexpr, HAS_LENGTHS: tl.constexpr, HAS_DCELLS: tl.constexpr, RESETS: tl.constexpr,
):  # fmt: skip
    """Load what a step reads, in the storage dtype: saved values, dout, h and c of the step before, dcells; and resets.

    h and c of the step before are loaded also where the sample starts anew: which they are is not waited for.
    """
    (gates_ptr, out_ptr, cells_ptr, h0_ptr, c0_ptr, anew_ptr, dout_ptr, dcells_ptr,
     T, B, H, D, back, row, state_own, units) = read  # fmt: skip
    S: tl.constexpr = CELL.saved
    valid = _having(step, T, back, own, lengths, HAS_LENGTHS)
    is_first = step == 0
    if HAS_LENGTHS:
        is_first = is_first | ((back == 1) & (T - step == lengths))
    rows, before = rows_at(step, T, B, D, row, back), rows_at(step - 1, T, B, D, row, back)
    saved = load_gates(gates_ptr, rows * (S * H) + units, H, valid, S)
    dout = gl.load(dout_ptr + rows * H + units, mask=valid, other=0.0)
    h, c_before, dcells = dout, dout, dout
    if CELL.reads_h:
        h = gl.load(gl.where(is_first, h0_ptr + state_own, out_ptr + (before * H + units)), mask=valid, other=0.0)
    if CELL.has_c:
        c_ptr = gl.where(is_first, c0_ptr + state_own, cells_ptr + (before * H + units))
        exists = own & (step >= 0)
        c_before = gl.load(c_ptr, mask=exists, other=0.0)  # also past the length: c of the next iteration
        if HAS_DCELLS:
            dcells = gl.load(dcells_ptr + rows * H + units, mask=valid, other=0.0)
    anew = valid
    if RESETS:
        anew = starts_anew(anew_ptr, step, T, B, D, row, back, row < B * D)
    return saved, dout, h, c_before, dcells, anew


@jit(do_not_specialize=RUNTIME)
def backward_sweep(
    gates_ptr,    # (T, B, D, S*H) values saved by the forward sweep, or recomputed
    out_ptr,      # (T, B, D, H) every h_t
    cells_ptr,    # (T, B, D, H) every c_t
    h0_ptr,       # (D, B, H)
    c0_ptr,       # (D, B, H)
    w_ptr,        # (D, H, G*H) recurrent weights, transposed
    lengths_ptr,  # (B,) int32
    anew_ptr,     # (T, B, D) int8, whether a sample starts anew before a step
    dout_ptr,     # (T, B, D, H) gradient of the output; with ``DROP``, of the output after dropout
    dcells_ptr,   # (T, B, D, H) gradient of every c_t
    dh_ptr,       # (D, B, H) in the accumulation dtype: on entry the gradient of h_n, on exit that of h_0
    dc_ptr,       # (D, B, H) the same for c_n and c_0
    dh_more_ptr,  # (D, B, H) in the accumulation dtype: on entry zeros, on exit the gradient of h_0 from resets
    dc_more_ptr,  # (D, B, H) the same for c_0
    dgates_ptr,   # (T, B, D, S*W) written, in the cell's order; all bits one on entry. W: H padded to whole 16-byte loads
    zeros_ptr,    # (S*W,) zeros: dgates of the step after the last, and read past W
    seed_ptr,     # (1,) int64 seed of dropout
    noise_ptr,    # (1,) int64 seed of ``NOISE``
    error_ptr,    # (1,) int32, set to launch_id on a timeout
    T, B, H, W, D, n_slices, n_tiles,
    lane_begin, tick_begin, tick_end, polls, launch_id,
    threshold, scale,  # of dropout, as bits (`dropout`)
    heads, zone_h, zone_c, candidate_threshold, candidate_scale,  # of a direction; of ``NOISE``, as bits (`noise`)
    CELL: tl.constexpr, HAS_LENGTHS: tl.constexpr, RESETS: tl.constexpr, HAS_DCELLS: tl.constexpr, DROP: tl.constexpr,
    NOISE: tl.constexpr,  # `noise.Modes`
    DIGITS: tl.constexpr, ACC: tl.constexpr, TILES: tl.constexpr,
):  # fmt: skip
    """Programs as in the forward sweep. One more tick after step 0 adds the part of dh_0 that comes from the recurrent products."""
    G: tl.constexpr = CELL.gates
    S: tl.constexpr = CELL.saved
    LATE: tl.constexpr = CELL.late
    EARLY: tl.constexpr = G - LATE  # number of products in the first phase
    FROM: tl.constexpr = CELL.exchanged_from
    IO: tl.constexpr = dgates_ptr.dtype.element_ty

    d, back, one, first_unit, units, samples, own, row, state_own, x_row = place(
        lane_begin, n_slices, n_tiles, B, H, D, heads, TILES
    )
    w = slice_of(w_ptr + one * d * H * G * H, first_unit, one * G * H, H, H, TILES)
    tiles = resident(w, G, TILES)
    lengths = samples
    if HAS_LENGTHS:
        lengths = gl.load(lengths_ptr + samples, mask=samples < B, other=0)

    dh = gl.load(dh_ptr + state_own, mask=own, other=0.0)
    dc = dh
    if CELL.has_c:
        dc = gl.load(dc_ptr + state_own, mask=own, other=0.0)
    keep = own
    if DROP != "":
        seed = gl.load(seed_ptr)
    if DROP == "shared":
        keep = kept_at(seed, row * H + units, threshold)
    numbers = (zone_h, zone_c, candidate_threshold, candidate_scale)
    noise = before_loop(noise_ptr, row * H + units, numbers, NOISE, ACC)
    zero = gl.full([TILES.units, TILES.samples], 0, IO, TILES.own)
    boxes = make_boxes(zero, G, TILES)
    RIGHT: tl.constexpr = TILES.right
    x_lane = (columns(H, RIGHT, 1, TILES), W, zeros_ptr, error_ptr, launch_id, boxes)
    polls = gl.full([TILES.parts, TILES.depth, TILES.samples], 0, gl.int32, TILES.right) + polls
    read = (gates_ptr, out_ptr, cells_ptr, h0_ptr, c0_ptr, anew_ptr, dout_ptr, dcells_ptr,
            T, B, H, D, back, row, state_own, units)  # fmt: skip
    step = T - 1 - tick_begin // CELL.phases
    ahead = _inputs(read, step, own, lengths, CELL, HAS_LENGTHS, HAS_DCELLS, RESETS)
    h_first, c_first, dh_more, dc_more, anew_after = zero, zero, dh, dc, own
    if RESETS:
        h_first = gl.load(h0_ptr + state_own, mask=own, other=0.0)
        dh_more = gl.load(dh_more_ptr + state_own, mask=own, other=0.0)
        anew_after = starts_anew(anew_ptr, step + 1, T, B, D, row, back, row < B * D)
        if CELL.has_c:
            c_first = gl.load(c0_ptr + state_own, mask=own, other=0.0)
            dc_more = gl.load(dc_more_ptr + state_own, mask=own, other=0.0)
    c = zero
    if CELL.has_c:
        c = gl.load(cells_ptr + rows_at(step, T, B, D, row, back) * H + units, mask=own & (step >= 0), other=0.0)
    for tick in range(tick_begin, tick_end):
        step = T - 1 - tick // CELL.phases
        rows = rows_at(step, T, B, D, row, back)
        valid = _having(step, T, back, own, lengths, HAS_LENGTHS)
        saved, dout, h, c_loaded, dcells, anew = ahead
        ahead = _inputs(read, T - 1 - (tick + 1) // CELL.phases, own, lengths, CELL, HAS_LENGTHS, HAS_DCELLS, RESETS)
        c_before = c_loaded
        if RESETS:
            if CELL.reads_h:
                h = gl.where(anew != 0, h_first, h)
            if CELL.has_c:
                c_before = gl.where(anew != 0, c_first, c_loaded)
        written = (units < W) & (samples < B) & (step >= 0)  # the last tick writes no dgates
        to = dgates_ptr + rows * (S * W) + units

        if LATE > 0 and tick % 2 == 1:
            x_ptr = dgates_ptr + rows_at(step, T, B, D, x_row, back) * (S * W) + (S - LATE) * W
            d_exchanged, polls = products(tiles, w, x_ptr, x_lane, polls, EARLY, EARLY, LATE, 1, ACC, TILES)
            first, more = CELL.step_late_backward(d_exchanged[0], widened(saved, S, ACC), h.to(ACC))
            for i in gl.static_range(S - EARLY):
                block = gl.where(valid, first[i].to(IO), zero)
                hand_on(to + i * W, block, block, written, boxes, i, TILES)
            dh = gl.where(valid, dh + more, dh)
        else:
            after = rows_at(step + 1, T, B, D, x_row, back) * (S * W)
            x_ptr = gl.where((x_row < 0) | (tick == 0), zeros_ptr, dgates_ptr + after) + FROM * W
            gathered, polls = products(tiles, w, x_ptr, x_lane, polls, 0, 0, EARLY, 1, ACC, TILES)
            weight_h, weight_c, factor = of_step(noise, rows * H + units, numbers, NOISE, ACC)
            dh += gathered[0]
            if (
                RESETS
            ):  # what has flowed to the state before the step after belongs to h_0 if the sample started anew there
                dh_more += gl.where(anew_after != 0, dh, 0.0)
                dh = gl.where(anew_after != 0, 0.0, dh)
                anew_after = anew
            d_step = dout.to(ACC)
            if DROP == "each":
                keep = kept_at(seed, rows * H + units, threshold)
            if DROP != "":
                d_step = scaled(d_step, keep, scale, ACC)
            dh += d_step
            if HAS_DCELLS:
                dc += dcells.to(ACC)
            wide = widened(saved, S, ACC)
            new_c = c.to(ACC)
            if NOISE.c != "":  # before zoneout
                new_c = CELL.new_c(wide, c_before.to(ACC), factor)
            dgates, direct, dc_before = CELL.step_backward(weight_h * dh, weight_c * dc, wide, h.to(ACC), new_c,
                                                           c_before.to(ACC), factor, DIGITS)  # fmt: skip
            if NOISE.h != "":
                direct += (1.0 - weight_h) * dh
            if NOISE.c != "":
                dc_before += (1.0 - weight_c) * dc
            SLOT: tl.constexpr = S - EARLY if LATE > 0 else 0
            for i in gl.static_range(FROM, S - SLOT):
                block = gl.where(valid, dgates[i].to(IO), zero)
                hand_on(to + (SLOT + i) * W, block, block, written, boxes, SLOT + i - FROM, TILES)
            for i in gl.static_range(FROM):
                gl.store(to + i * W, gl.where(valid, dgates[i].to(IO), zero), mask=written)
            dh = gl.where(valid, direct, dh)
            if CELL.has_c:
                dc, c = gl.where(valid, dc_before, dc), c_loaded
                if RESETS:
                    dc_more += gl.where(anew != 0, dc, 0.0)
                    dc = gl.where(anew != 0, 0.0, dc)

    gl.store(dh_ptr + state_own, dh, mask=own)
    if RESETS:
        gl.store(dh_more_ptr + state_own, dh_more, mask=own)
    if CELL.has_c:
        gl.store(dc_ptr + state_own, dc, mask=own)
        if RESETS:
            gl.store(dc_more_ptr + state_own, dc_more, mask=own)
