"""The backward sweep: the time loop of a layer from the last step to the first, both directions, in one launch.

Computes ``dgates``, the gradients of the pre-activations of every step, and the gradients of h_0 and c_0. A program accumulates dh
of its units: at every step it polls the dgates that the programs of its lane have written and multiplies them by its columns of
W_hh. The gradients of weights, biases and input are matrix products over all steps, computed after the sweep.
"""

import triton.language as tl

from fusedrnn.kernels.inputs import having, inputs
from fusedrnn.kernels.language import gl, jit
from fusedrnn.kernels.launch import RUNTIME
from fusedrnn.kernels.noise import before_loop, of_step
from fusedrnn.kernels.norm import gather_at
from fusedrnn.kernels.norm_backward import backward_inputs, gather, hand_in, state_gradient
from fusedrnn.kernels.philox import kept_at, scaled
from fusedrnn.kernels.products import hand_on, left, make_boxes, products, resident, slice_of
from fusedrnn.kernels.tiles import columns, place, rows_at, starts_anew, widened


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
    weighted_ptr,  # (T, B, D, G*H) gain * norm(W_hh h), with ``NORM``; W_hh h is of the h before a step
    scale_ptr,    # (T, B, D) 1 / standard deviation of W_hh h, in the accumulation dtype
    v_ptr,        # (T, B, D, H) scale * W^T norm(W_hh h) with the centred W_hh
    gain_c_ptr,   # (D, H), with ``NORM`` and c
    bias_c_ptr,   # (D, H)
    plain_c_ptr,  # (T, B, D, H) norm(c'), of c' before zoneout
    scale_c_ptr,  # (T, B, D) 1 / standard deviation of c', in the accumulation dtype
    dgain_c_ptr,  # (D, B, H) in the accumulation dtype: on exit the gradient of gain_c, of each sample
    dbias_c_ptr,  # (D, B, H) the same of bias_c
    sums_ptr,     # (T + 1, B, D, 1, or 3 with c, NORM) exchanged sums, as in the forward sweep; zeros at T
    error_ptr,    # (1,) int32, set to launch_id on a timeout
    T, B, H, W, D, n_slices, n_tiles,
    lane_begin, tick_begin, tick_end, polls, launch_id,
    threshold, scale,  # of dropout, as bits (`dropout`)
    zone_h, zone_c, candidate_threshold, candidate_scale,  # of ``NOISE``, as bits (`noise`)
    CELL: tl.constexpr, HAS_LENGTHS: tl.constexpr, RESETS: tl.constexpr, HAS_DCELLS: tl.constexpr, DROP: tl.constexpr,
    NOISE: tl.constexpr,  # `noise.Modes`
    HEADS: tl.constexpr,  # of a direction
    NORM: tl.constexpr,  # layer normalisation (`norm`)
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
        lane_begin, n_slices, n_tiles, B, H, D, HEADS, TILES
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
    read = (gates_ptr, out_ptr, cells_ptr, h0_ptr, c0_ptr, anew_ptr, dout_ptr, dcells_ptr,
            T, B, H, D, back, row, state_own, units)  # fmt: skip
    step = T - 1 - tick_begin // CELL.phases
    if NORM > 0:
        read_norm = (weighted_ptr, scale_ptr, v_ptr, plain_c_ptr, scale_c_ptr, T, B, H, D, back, row, units)
        total = gl.full([1, TILES.samples], 0, ACC, TILES.own)
        KINDS: tl.constexpr = 3 if CELL.has_c else 1
        meeting = gather_at(lane_begin, n_slices, n_tiles, B, D, polls, first_unit, units, samples, KINDS, NORM, TILES)
        sum_polls = meeting[4]
        sums = (sums_ptr, one * B * D * (KINDS * NORM), T, meeting, one * H, error_ptr, launch_id)
        if CELL.has_c:
            gain_c = gl.load(gain_c_ptr + (d * H + units), mask=units < H, other=0.0).to(ACC)
            bias_c = gl.load(bias_c_ptr + (d * H + units), mask=units < H, other=0.0).to(ACC)
            dgain_c, dbias_c = zero.to(ACC), zero.to(ACC)
    ahead = inputs(read, step, own, lengths, CELL, HAS_LENGTHS, HAS_DCELLS, RESETS)
    polls = gl.full([TILES.parts, TILES.depth, TILES.samples], 0, gl.int32, TILES.right) + polls
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
        valid = having(step, T, back, own, lengths, HAS_LENGTHS)
        saved, dout, h, c_loaded, dcells, anew = ahead
        ahead = inputs(read, T - 1 - (tick + 1) // CELL.phases, own, lengths, CELL, HAS_LENGTHS, HAS_DCELLS, RESETS)
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
            if NORM > 0:
                norm_inputs = backward_inputs(read_norm, step, samples, own, CELL)
                through_h, total, polls, sum_polls = gather(
                    tiles, w, x_ptr, x_lane, polls, sums, step, total, sum_polls, norm_inputs, CELL, ACC, NORM, TILES
                )
                dh += through_h
            else:
                gathered, polls = products(tiles, w, x_ptr, x_lane, polls, 0, 0, EARLY, 1, ACC, TILES)
                dh += gathered[0]
            weight_h, weight_c, factor = of_step(noise, rows * H + units, numbers, NOISE, ACC)
            if RESETS:  # the gradient of the state before the step after is h_0's if the sample started anew there
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
            if NORM > 0 and CELL.has_c:
                y, dseen = CELL.through_output(weight_h * dh, wide, gain_c * norm_inputs[3].to(ACC) + bias_c, DIGITS)
                dseen = gl.where(valid, dseen, 0.0)
                dgain_c += dseen * norm_inputs[3].to(ACC)
                dbias_c += dseen
                dc_norm, sum_polls = state_gradient(
                    dseen * gain_c, norm_inputs, sums, step, sum_polls, ACC, NORM, TILES
                )
                dgates, direct, dc_before = CELL.gate_gradients(
                    weight_h * dh, weight_c * dc + dc_norm, y, wide, c_before.to(ACC), factor
                )
            else:
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
            if NORM > 0:
                left(TILES)
                total = hand_in(dgates, valid, norm_inputs, sums, step, CELL, ACC, NORM, TILES)
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
        if NORM > 0:
            gl.store(dgain_c_ptr + state_own, dgain_c, mask=own)
            gl.store(dbias_c_ptr + state_own, dbias_c, mask=own)
        if RESETS:
            gl.store(dc_more_ptr + state_own, dc_more, mask=own)
