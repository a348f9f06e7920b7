"""The backward sweep whose gradients are their own flag, weights in registers: the mirror of the forward one, last step first.

A program owns the units' slice of dh. What the lane exchanges is the gradient of the recurrent products (``dgates``), which each
program polls through its columns of W_hh. Only what the time loop must do in order is here: the gradients of weights, biases and
input are products over all steps afterwards.
"""

import triton.language as tl

from fusedrnn.kernels.language import barrier, gl, jit
from fusedrnn.kernels.launch import RUNTIME
from fusedrnn.kernels.philox import kept_at, scaled
from fusedrnn.kernels.poll import publish
from fusedrnn.kernels.tiles import along, columns, load_gates, load_weights, multiply, widened


@jit
def _inputs(
    gates_ptr, out_ptr, cells_ptr, h0_ptr, c0_ptr, dout_ptr, dcells_ptr,
    step, T, B, H, D, d, row, state_own, units, own, lengths,
    CELL: tl.constexpr, HAS_LENGTHS: tl.constexpr, HAS_DCELLS: tl.constexpr,
):  # fmt: skip
    """What a step reads, as it is stored: saved gates, dout, h, c, c before, dcells; and where the sample has this step."""
    S: tl.constexpr = CELL.saved
    t = step + d * (T - 1 - 2 * step)
    valid = own & (step >= 0)
    is_first = step == 0
    if HAS_LENGTHS:
        valid = valid & (t < lengths)
        is_first = is_first | ((d == 1) & (t == lengths - 1))
    rows = row + t * (row * 0 + 1) * B * D
    before = rows + (2 * d - 1) * (row * 0 + 1) * B * D
    saved = load_gates(gates_ptr, rows * (S * H) + units, H, valid, S)
    dout = gl.load(dout_ptr + rows * H + units, mask=valid, other=0.0)
    h, c, c_before, dcells = dout, dout, dout, dout
    if CELL.reads_h:
        h = gl.load(gl.where(is_first, h0_ptr + state_own, out_ptr + (before * H + units)), mask=valid, other=0.0)
    if CELL.has_c:
        c = gl.load(cells_ptr + rows * H + units, mask=valid, other=0.0)
        c_ptr = gl.where(is_first, c0_ptr + state_own, cells_ptr + (before * H + units))
        c_before = gl.load(c_ptr, mask=valid, other=0.0)
        if HAS_DCELLS:
            dcells = gl.load(dcells_ptr + rows * H + units, mask=valid, other=0.0)
    return saved, dout, h, c, c_before, dcells, valid


@jit(do_not_specialize=RUNTIME)
def polled_backward(
    gates_ptr,    # (T, B, D, S*H) as the forward saved them, or recomputed
    out_ptr,      # (T, B, D, H) every h_t
    cells_ptr,    # (T, B, D, H) every c_t
    h0_ptr,       # (D, B, H)
    c0_ptr,       # (D, B, H)
    w_ptr,        # (D, H, G*H) recurrent weights, transposed
    lengths_ptr,  # (B,) int32
    dout_ptr,     # (T, B, D, H) gradient of the output, after dropout if ``DROP``
    dcells_ptr,   # (T, B, D, H) gradient of every c_t
    dh_ptr,       # (D, B, H) accumulation dtype: in, the gradient of h_n; out, of h_0
    dc_ptr,       # (D, B, H) likewise of c
    dgates_ptr,   # (T, B, D, S*W) of the pre-activations, in the cell's order; W: H rounded up to whole loads. All ones at first
    zeros_ptr,    # (S*W,) what the step after the last would have published
    seed_ptr,     # (1,) int64 of dropout
    error_ptr,    # (1,) int32
    T, B, H, W, D, n_slices, n_tiles,
    lane_begin, tick_begin, tick_end, polls, launch_id,
    threshold, scale,  # of dropout
    CELL: tl.constexpr, HAS_LENGTHS: tl.constexpr, HAS_DCELLS: tl.constexpr, DROP: tl.constexpr,
    DIGITS: tl.constexpr, ACC: tl.constexpr,
    BLOCK_U: tl.constexpr, BLOCK_B: tl.constexpr, SPLIT: tl.constexpr, BLOCK_K: tl.constexpr, CHUNKS: tl.constexpr,
    GROUP: tl.constexpr, EVEN: tl.constexpr,
):  # fmt: skip
    """Program (slice, lane) as in the forward sweep. One more tick after the last step gathers the gradient of h_0."""
    G: tl.constexpr = CELL.gates
    S: tl.constexpr = CELL.saved
    HAS_C: tl.constexpr = CELL.has_c
    FROM: tl.constexpr = CELL.exchanged_from
    IO: tl.constexpr = dgates_ptr.dtype.element_ty
    mma_at: tl.constexpr = gl.NVMMADistributedLayout([2, 0], [SPLIT, 1, 1], [1, 16, 8])
    left: tl.constexpr = gl.DotOperandLayout(0, mma_at, 8)
    right: tl.constexpr = gl.DotOperandLayout(1, mma_at, 8)
    EACH: tl.constexpr = max(1, BLOCK_U * BLOCK_B // (32 * SPLIT))  # units a thread
    LANES: tl.constexpr = BLOCK_U // EACH
    parts_at: tl.constexpr = gl.BlockedLayout([SPLIT, EACH, 1], [1, LANES, 32 // LANES], [1, 1, SPLIT], [1, 2, 0])
    at: tl.constexpr = gl.SliceLayout(0, parts_at)

    lane = lane_begin + gl.program_id(0) // n_slices
    d = lane // n_tiles
    one = d.to(gl.int64) * 0 + 1
    first_unit = (gl.program_id(0) % n_slices) * BLOCK_U
    first_sample = (lane % n_tiles) * BLOCK_B

    w_column = columns(left, 2, SPLIT, BLOCK_K, CHUNKS)
    tiles = load_weights(w_ptr + one * d * H * G * H, along(BLOCK_U, left, 1) + first_unit, w_column, H, one * G * H, H,
                         G, BLOCK_K, CHUNKS)  # fmt: skip
    x_column = columns(right, 1, SPLIT, BLOCK_K, CHUNKS)
    x_sample = gl.minimum(along(BLOCK_B, right, 2) + first_sample, B - 1)
    x_row = one * x_sample * D + d

    units = (gl.arange(0, BLOCK_U, layout=gl.SliceLayout(1, at)) + first_unit).expand_dims(1)
    samples = (gl.arange(0, BLOCK_B, layout=gl.SliceLayout(0, at)) + first_sample).expand_dims(0)
    own = (units < H) & (samples < B)
    row = one * samples * D + d
    state_own = (one * d * B + samples) * H + units
    lengths = samples
    if HAS_LENGTHS:
        lengths = gl.load(lengths_ptr + samples, mask=samples < B, other=0)
    shared = gl.allocate_shared_memory(ACC, [SPLIT, BLOCK_U, BLOCK_B], gl.SwizzledSharedLayout(1, 1, 1, [2, 1, 0]))

    dh = gl.load(dh_ptr + state_own, mask=own, other=0.0)
    dc = dh
    if HAS_C:
        dc = gl.load(dc_ptr + state_own, mask=own, other=0.0)
    keep = own
    if DROP != "":
        seed = gl.load(seed_ptr)
    if DROP == "shared":
        keep = kept_at(seed, row * H + units, threshold)
    zero = gl.full([BLOCK_U, BLOCK_B], 0, IO, at)
    polls = gl.full([SPLIT, BLOCK_K, BLOCK_B], 0, gl.int32, right) + polls
    next_saved, next_dout, next_h, next_c, next_c_before, next_dcells, next_valid = _inputs(
        gates_ptr, out_ptr, cells_ptr, h0_ptr, c0_ptr, dout_ptr, dcells_ptr,
        T - 1 - tick_begin, T, B, H, D, d, row, state_own, units, own, lengths, CELL, HAS_LENGTHS, HAS_DCELLS,
    )  # fmt: skip
    for tick in range(tick_begin, tick_end):
        step = T - 1 - tick
        t = step + d * (T - 1 - 2 * step)
        saved, dout, h, c, c_before, dcells, valid = (
            next_saved, next_dout, next_h, next_c, next_c_before, next_dcells, next_valid,
        )  # fmt: skip
        next_saved, next_dout, next_h, next_c, next_c_before, next_dcells, next_valid = _inputs(
            gates_ptr, out_ptr, cells_ptr, h0_ptr, c0_ptr, dout_ptr, dcells_ptr,
            step - 1, T, B, H, D, d, row, state_own, units, own, lengths, CELL, HAS_LENGTHS, HAS_DCELLS,
        )  # fmt: skip
        after = (one * (t + 1 - 2 * d) * B * D + x_row) * (S * W)
        x_ptr = gl.where((x_sample < 0) | (tick == 0), zeros_ptr + after * 0, dgates_ptr + after) + FROM * W
        acc = gl.full([SPLIT, BLOCK_U, BLOCK_B], 0, ACC, mma_at)
        for group in gl.static_range(0, G * CHUNKS, GROUP):
            acc, polls = multiply(acc, tiles, x_ptr, x_column, W, zeros_ptr, polls, error_ptr, launch_id, group,
                                  min(GROUP, G * CHUNKS - group), BLOCK_K, CHUNKS, EVEN, BLOCK_K * BLOCK_B // 32, IO)  # fmt: skip
        shared.store(acc)
        barrier()
        dh += gl.sum(shared.load(parts_at), 0)
        barrier()  # the next step's parts go where these lay

        dout = dout.to(ACC)
        if DROP == "each":
            keep = kept_at(seed, (row + one * t * B * D) * H + units, threshold)
        if DROP != "":
            dout = scaled(dout, keep, scale, ACC)
        dh += dout
        if HAS_DCELLS:
            dc += dcells.to(ACC)
        dgates, direct, dc_before = CELL.step_backward(dh, dc, widened(saved, S, ACC), h.to(ACC), c.to(ACC),
                                                       c_before.to(ACC), DIGITS)  # fmt: skip
        written = (units < W) & (samples < B) & (step >= 0)  # nothing but the gather is left to do in the last tick
        to = dgates_ptr + (row + one * t * B * D) * (S * W) + units
        for i in gl.static_range(FROM, S):
            publish(to + i * W, gl.where(valid, dgates[i].to(IO), zero), written, EACH)
        for i in gl.static_range(FROM):
            gl.store(to + i * W, gl.where(valid, dgates[i].to(IO), zero), mask=written)
        dh = gl.where(valid, direct, dh)
        if HAS_C:
            dc = gl.where(valid, dc_before, dc)

    gl.store(dh_ptr + state_own, dh, mask=own)
    if HAS_C:
        gl.store(dc_ptr + state_own, dc, mask=own)
