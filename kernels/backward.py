"""The backward sweep: dgates of every step, and the gradients of the initial states.

The mirror of the forward sweep, same forms, last step first. A program owns the units' slice of dh; what the lane exchanges
is the gradient of the recurrent products (``dgates``), and each program gathers it through its columns of W_hh. Only what the
time loop must do in order is here: the gradients of weights, biases and input are products over all steps afterwards.
"""

import triton
import triton.language as tl

from fusedrnn.kernels.exchange import arrive, wait
from fusedrnn.kernels.forward import load_gates, store_gates
from fusedrnn.kernels.launch import RUNTIME
from fusedrnn.kernels.philox import kept_at, scaled
from fusedrnn.kernels.product import dot, gather, load_slice


@triton.jit
def zeroed(valid, blocks, COUNT: tl.constexpr):
    """The blocks, zero where not valid."""
    kept = ()
    for i in tl.static_range(COUNT):
        kept = kept + (tl.where(valid, blocks[i], 0.0),)
    return kept


@triton.jit(do_not_specialize=RUNTIME)
def backward_sweep(
    gates_ptr,    # (T, B, D, S*H) as the forward saved them, or recomputed
    out_ptr,      # (T, B, D, H) every h_t
    cells_ptr,    # (T, B, D, H) every c_t, if the cell has one
    h0_ptr,       # (D, B, H)
    c0_ptr,       # (D, B, H)
    w_ptr,        # (D, H, G*H) recurrent weights, transposed
    lengths_ptr,  # (B,) int32
    dout_ptr,     # (T, B, D, H) gradient of the output, after dropout if ``DROP``
    dcells_ptr,   # (T, B, D, H) gradient of every c_t
    dh_ptr,       # (D, B, H) accumulation dtype: in, the gradient of h_n; out, of h_0
    dc_ptr,       # (D, B, H) likewise of c
    dgates_ptr,   # (T, B, D, S*H) gradients of the pre-activations, in the order of the cell
    counter_ptr,  # (lanes,) int32, zero at launch
    error_ptr,    # (1,) int32
    seed_ptr,     # (1,) int64 of dropout
    T, B, H, D, n_slices, n_tiles,
    lane_begin, tick_begin, tick_end, polls, launch_id,
    threshold, scale,  # of dropout
    CELL: tl.constexpr, HAS_LENGTHS: tl.constexpr, HAS_DCELLS: tl.constexpr, DROP: tl.constexpr,
    EXCHANGE: tl.constexpr, RESIDENT: tl.constexpr, DIGITS: tl.constexpr, UPCAST: tl.constexpr, PRECISION: tl.constexpr,
    ACC: tl.constexpr,
    BLOCK_U: tl.constexpr, BLOCK_B: tl.constexpr, SPLIT: tl.constexpr, BLOCK_K: tl.constexpr, CHUNKS: tl.constexpr,
    GROUP: tl.constexpr,
):  # fmt: skip
    """Program (slice, lane) as in the forward sweep.

    With exchange, tick k first gathers what tick k - 1 published; one more tick after the last gathers the gradient of h_0.
    """
    G: tl.constexpr = CELL.gates
    S: tl.constexpr = CELL.saved
    LATE: tl.constexpr = CELL.late
    EARLY: tl.constexpr = G - LATE  # products of the first phase
    HAS_C: tl.constexpr = CELL.has_c
    TICKS: tl.constexpr = CELL.phases
    FROM: tl.constexpr = CELL.exchanged_from
    IO: tl.constexpr = dgates_ptr.dtype.element_ty

    pid = tl.program_id(0)
    lane = lane_begin + pid // n_slices
    d = lane // n_tiles
    units = (pid % n_slices) * BLOCK_U + tl.arange(0, BLOCK_U)
    batch = (lane % n_tiles) * BLOCK_B + tl.arange(0, BLOCK_B)
    unit_mask = units < H
    batch_mask = batch < B
    own = unit_mask[:, None] & batch_mask[None, :]
    one = tl.full((), 1, tl.int64)
    step_row = batch * one * D + d
    state_own = ((one * d * B + batch) * H)[None, :] + units[:, None]
    w_row = (one * d * H + units) * (G * H)
    counter_ptr += lane

    if HAS_LENGTHS:
        lengths = tl.load(lengths_ptr + batch, mask=batch_mask, other=0)
    tiles = ()
    late_tiles = ()
    if RESIDENT:
        tiles = load_slice(w_ptr, w_row, H, H, unit_mask, 0, EARLY, SPLIT, BLOCK_K, CHUNKS)
        late_tiles = load_slice(w_ptr, w_row, H, H, unit_mask, EARLY, G, SPLIT, BLOCK_K, CHUNKS)

    dh = tl.load(dh_ptr + state_own, mask=own, other=0.0)
    dc = dh
    if HAS_C:
        dc = tl.load(dc_ptr + state_own, mask=own, other=0.0)

    keep = own
    if DROP != "":
        seed = tl.load(seed_ptr)
    if DROP == "shared":
        keep = kept_at(seed, step_row[None, :] * H + units[:, None], threshold)
    for tick in range(tick_begin, tick_end):
        step = T - 1 - tick // TICKS
        t = step + d * (T - 1 - 2 * step)
        rows = t * one * B * D + step_row
        own_rows = rows[None, :] * H + units[:, None]
        own_gates = rows[None, :] * (S * H) + units[:, None]
        mine = own & (step >= 0)  # nothing but the gather is left to do in the tick after the last
        valid = mine
        is_first = step == 0
        if HAS_LENGTHS:
            valid = mine & (t < lengths)[None, :]
            is_first = (is_first | ((d == 1) & (t == lengths - 1)))[None, :]
        before = rows + (1 - 2 * d) * one * -B * D  # the rows of the step that came before in this direction
        before_rows = before[None, :] * H + units[:, None]
        saved = load_gates(gates_ptr, own_gates, H, valid, S, ACC)
        h = tl.load(out_ptr + before_rows, mask=valid & (is_first == 0), other=0.0).to(ACC)
        h += tl.load(h0_ptr + state_own, mask=valid & is_first, other=0.0).to(ACC)
        dout = tl.load(dout_ptr + own_rows, mask=valid, other=0.0).to(ACC)
        if DROP == "each":
            keep = kept_at(seed, own_rows, threshold)
        if DROP != "":
            dout = scaled(dout, keep, scale, ACC)
        c = h
        c_before = h
        if HAS_C:
            c = tl.load(cells_ptr + own_rows, mask=valid, other=0.0).to(ACC)
            c_before = tl.load(cells_ptr + before_rows, mask=valid & (is_first == 0), other=0.0).to(ACC)
            c_before += tl.load(c0_ptr + state_own, mask=valid & is_first, other=0.0).to(ACC)
            if HAS_DCELLS:
                dc += tl.load(dcells_ptr + own_rows, mask=valid, other=0.0).to(ACC)

        # what the tick before published: rows of the step after this one, or of this step for the second half of a step
        x_row = (rows + (1 - 2 * d) * one * B * D) * (S * H)
        if EXCHANGE:
            polls = wait(counter_ptr, (tick - tick_begin) * n_slices, polls, error_ptr, launch_id)
            poison = tl.where(polls > 0, 0.0, float("nan"))
            present = batch_mask & (tick > 0)

        if LATE > 0:
            if tick % 2 == 0:
                dh += gather(tiles, w_ptr, w_row, H, unit_mask, dgates_ptr, x_row, present, H,
                             0, EARLY, RESIDENT, UPCAST, PRECISION, ACC,
                             BLOCK_U, BLOCK_B, SPLIT, BLOCK_K, CHUNKS, GROUP)  # fmt: skip
                dh += tl.where(valid, dout, 0.0) + poison
                dgates, direct, _ = CELL.step_backward(dh, dc, saved, h, c, c_before, DIGITS)
                store_gates(dgates_ptr, own_gates, H, mine, zeroed(valid, dgates, EARLY), S - EARLY, 0, EARLY)
                arrive(counter_ptr, polls)
                dh = tl.where(valid, direct, dh)
            else:
                d_exchanged = gather(late_tiles, w_ptr, w_row, H, unit_mask, dgates_ptr + (S - LATE) * H, rows * (S * H),
                                     batch_mask, H, EARLY, G, RESIDENT, UPCAST, PRECISION, ACC,
                                     BLOCK_U, BLOCK_B, SPLIT, BLOCK_K, CHUNKS, GROUP)  # fmt: skip
                dgates_late, more = CELL.step_late_backward(d_exchanged + poison, saved, h)
                store_gates(dgates_ptr, own_gates, H, mine, zeroed(valid, dgates_late, S - EARLY), 0, 0, S - EARLY)
                arrive(counter_ptr, polls)
                dh = tl.where(valid, dh + more, dh)
        else:
            if EXCHANGE:
                dh += gather(tiles, w_ptr, w_row, H, unit_mask, dgates_ptr + FROM * H, x_row, present, H,
                             0, G, RESIDENT, UPCAST, PRECISION, ACC, BLOCK_U, BLOCK_B, SPLIT, BLOCK_K, CHUNKS, GROUP)  # fmt: skip
                dh += poison
            dh += dout
            unmasked, direct, dc_before = CELL.step_backward(dh, dc, saved, h, c, c_before, DIGITS)
            dgates = zeroed(valid, unmasked, S)
            if HAS_C:
                dc = tl.where(valid, dc_before, dc)
            store_gates(dgates_ptr, own_gates, H, mine, dgates, 0, FROM, S)
            dh = tl.where(valid, direct, dh)
            if EXCHANGE:
                arrive(counter_ptr, polls)
            else:
                for g in tl.static_range(G):
                    dh = dot(tiles[g], dgates[FROM + g].to(IO), dh, UPCAST, PRECISION)
            store_gates(dgates_ptr, own_gates, H, mine, dgates, 0, 0, FROM)

    tl.store(dh_ptr + state_own, dh, mask=own)
    if HAS_C:
        tl.store(dc_ptr + state_own, dc, mask=own)
