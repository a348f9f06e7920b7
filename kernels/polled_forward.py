"""The forward sweep whose output is its own flag, weights in registers: the whole time loop of a layer in one launch.

A program owns 16 units with all their gates and a few samples of one direction. At every step it polls the output of the step
before (`poll`), multiplies, adds up the warps' parts and computes its units. The inputs of the next step are loaded meanwhile. It
runs steps [tick_begin, tick_end): all of them at once, or one at a time where programs cannot wait for each other.
"""

import triton.language as tl

from fusedrnn.kernels.language import barrier, gl, jit, mma
from fusedrnn.kernels.launch import RUNTIME
from fusedrnn.kernels.philox import kept_at, scaled
from fusedrnn.kernels.poll import publish
from fusedrnn.kernels.tiles import along, columns, load_gates, load_weights, take, widened


@jit(do_not_specialize=RUNTIME)
def polled_forward(
    gx_ptr,       # (T, B, D, G*H) input side, b_ih included
    w_ptr,        # (D, G*H, H) recurrent weights
    b_ptr,        # (D, G*H) recurrent bias
    lengths_ptr,  # (B,) int32
    h0_ptr,       # (D, B, W) and 8 zeros; W: H rounded up to whole loads
    state_ptr,    # (D, B, H) in, h before tick_begin; out, h after tick_end
    c_ptr,        # (D, B, H) likewise of c, accumulation dtype
    out_ptr,      # (T, B, D, W) all ones in every bit at the first launch
    cells_ptr,    # (T, B, D, H) every c_t
    gates_ptr,    # (T, B, D, S*H) what the backward needs
    dropped_ptr,  # (T, B, D, H) what dropout leaves of out
    seed_ptr,     # (1,) int64
    error_ptr,    # (1,) int32
    T, B, H, W, D, n_slices, n_tiles,
    lane_begin, tick_begin, tick_end, polls, launch_id,
    threshold, scale,  # of dropout, as in the kernels of dropout
    CELL: tl.constexpr, HAS_BIAS: tl.constexpr, HAS_LENGTHS: tl.constexpr, SAVE: tl.constexpr, DROP: tl.constexpr,
    DIGITS: tl.constexpr, ACC: tl.constexpr,
    BLOCK_U: tl.constexpr, BLOCK_B: tl.constexpr, SPLIT: tl.constexpr, BLOCK_K: tl.constexpr, CHUNKS: tl.constexpr,
    GROUP: tl.constexpr, EVEN: tl.constexpr,
):  # fmt: skip
    """Program (slice, lane): BLOCK_U units with all their gates, BLOCK_B samples of one direction."""
    G: tl.constexpr = CELL.gates
    S: tl.constexpr = CELL.saved
    HAS_C: tl.constexpr = CELL.has_c
    IO: tl.constexpr = out_ptr.dtype.element_ty
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
    tiles = load_weights(w_ptr + one * d * G * H * H, along(BLOCK_U, left, 1) + first_unit, w_column, H, H, one * H * H,
                         G, BLOCK_K, CHUNKS)  # fmt: skip
    x_column = columns(right, 1, SPLIT, BLOCK_K, CHUNKS)
    x_sample = gl.minimum(along(BLOCK_B, right, 2) + first_sample, B - 1)
    x_row = one * x_sample * D + d
    x_first = x_sample < 0
    if HAS_LENGTHS:
        x_length = gl.load(lengths_ptr + x_sample)

    units = (gl.arange(0, BLOCK_U, layout=gl.SliceLayout(1, at)) + first_unit).expand_dims(1)
    samples = (gl.arange(0, BLOCK_B, layout=gl.SliceLayout(0, at)) + first_sample).expand_dims(0)
    own = (units < H) & (samples < B)
    row = one * samples * D + d
    state_own = (one * d * B + samples) * H + units
    valid = own
    if HAS_LENGTHS:
        lengths = gl.load(lengths_ptr + samples, mask=samples < B, other=0)
    bias = ()
    for g in gl.static_range(G):
        if HAS_BIAS:
            bias = bias + (gl.load(b_ptr + (d * G + g) * H + units, mask=units < H, other=0.0).to(ACC),)
        else:
            bias = bias + (gl.full([BLOCK_U, 1], 0, ACC, at),)
    shared = ()
    for _ in gl.static_range(G):
        box = gl.allocate_shared_memory(ACC, [SPLIT, BLOCK_U, BLOCK_B], gl.SwizzledSharedLayout(1, 1, 1, [2, 1, 0]))
        shared = shared + (box,)

    h = gl.load(state_ptr + state_own, mask=own, other=0.0).to(ACC)
    c = h
    if HAS_C:
        c = gl.load(c_ptr + state_own, mask=own, other=0.0)
    keep = own
    if DROP != "":
        seed = gl.load(seed_ptr)
    if DROP == "shared":
        keep = kept_at(seed, row * H + units, threshold)
    zero = gl.full([BLOCK_U, BLOCK_B], 0, IO, at)
    polls = gl.full([SPLIT, BLOCK_K, BLOCK_B], 0, gl.int32, right) + polls
    rows = one * (tick_begin + d * (T - 1 - 2 * tick_begin)) * B * D + row
    next_gx = load_gates(gx_ptr, rows * (G * H) + units, H, own, G)
    for step in range(tick_begin, tick_end):
        t = step + d * (T - 1 - 2 * step)
        rows = one * t * B * D + row
        gx = next_gx
        next_gx = load_gates(gx_ptr, (rows + (1 - 2 * d) * one * B * D) * (G * H) + units, H, own & (step < T - 1), G)
        is_first = x_first | (step == 0)
        if HAS_LENGTHS:
            valid = own & (t < lengths)
            is_first = is_first | ((d == 1) & (t == x_length - 1))
        before = (one * (t - 1 + 2 * d) * B * D + x_row) * W
        x_ptr = gl.where(is_first, h0_ptr + (one * d * B + x_sample) * W, out_ptr + before)

        accs = ()
        for _ in gl.static_range(G):
            accs = accs + (gl.full([SPLIT, BLOCK_U, BLOCK_B], 0, ACC, mma_at),)
        for group in gl.static_range(0, CHUNKS, GROUP):
            x = take(x_ptr, x_column, W, h0_ptr + one * D * B * W, polls, error_ptr, launch_id, group,
                     min(GROUP, CHUNKS - group), BLOCK_K, CHUNKS, EVEN, BLOCK_K * BLOCK_B // 32, IO)  # fmt: skip
            polls = x[min(GROUP, CHUNKS - group)]
            for chunk in gl.static_range(group, min(group + GROUP, CHUNKS)):
                sums = ()
                for g in gl.static_range(G):
                    sums = sums + (mma(tiles[g * CHUNKS + chunk], x[chunk - group], accs[g]),)
                accs = sums
        for g in gl.static_range(G):
            shared[g].store(accs[g])
        barrier()
        a = ()
        for g in gl.static_range(G):
            a = a + (gl.sum(shared[g].load(parts_at), 0) + bias[g],)
        barrier()  # the next step's parts go where these lay

        new, c_new, saved = CELL.step(widened(gx, G, ACC), a, h, c, DIGITS)
        new = new.to(IO)
        publish(out_ptr + rows * W + units, gl.where(valid, new, zero), (units < W) & (samples < B), EACH)
        h = gl.where(valid, new.to(ACC), h)
        own_rows = rows * H + units
        if HAS_C:
            c = gl.where(valid, c_new, c)
            gl.store(cells_ptr + own_rows, gl.where(valid, c, 0.0).to(IO), mask=own)
        if SAVE:
            for i in gl.static_range(S):
                gl.store(gates_ptr + rows * (S * H) + i * H + units, saved[i].to(IO), mask=own)
        if DROP == "each":
            keep = kept_at(seed, own_rows, threshold)
        if DROP != "":
            gl.store(dropped_ptr + own_rows, scaled(h, valid & keep, scale, ACC).to(IO), mask=own)

    gl.store(state_ptr + state_own, h.to(IO), mask=own)
    if HAS_C:
        gl.store(c_ptr + state_own, c, mask=own)
