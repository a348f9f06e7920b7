"""The forward sweep: the whole time loop of a layer, both directions, in one launch.

One kernel serves every cell, a value (``cell.Cell``) of numbers and the functions of a step, and every form: weights in one
program (no exchange), weights split over programs and kept on chip, weights streamed from L2; and the range of ticks
[tick_begin, tick_end) that this launch runs: all of them at once, or one at a time where programs cannot wait for each other.

A tick is one exchange: a step has one, or two where the cell has two phases (the reset-before GRU must exchange r * h before n).
"""

import triton
import triton.language as tl

from fusedrnn.kernels.exchange import arrive, wait
from fusedrnn.kernels.launch import RUNTIME
from fusedrnn.kernels.philox import kept_at, scaled
from fusedrnn.kernels.product import dot, load_slice, products


@triton.jit
def load_gates(ptr, offsets, H, mask, COUNT: tl.constexpr, ACC: tl.constexpr):
    """``COUNT`` blocks that lie H apart, in the accumulation dtype; zeros where masked."""
    blocks = ()
    for g in tl.static_range(COUNT):
        blocks = blocks + (tl.load(ptr + offsets + g * H, mask=mask, other=0.0).to(ACC),)
    return blocks


@triton.jit
def store_gates(ptr, offsets, H, mask, blocks, SLOT: tl.constexpr, FIRST: tl.constexpr, LAST: tl.constexpr):
    """The inverse, of blocks FIRST to LAST - 1: block i at slot SLOT + i."""
    for i in tl.static_range(FIRST, LAST):
        tl.store(ptr + offsets + (SLOT + i) * H, blocks[i].to(ptr.dtype.element_ty), mask=mask)


@triton.jit
def biased(blocks, bias, FIRST: tl.constexpr, LAST: tl.constexpr):
    """The blocks, products of gates FIRST to LAST - 1, with those gates' bias added."""
    sums = ()
    for g in tl.static_range(FIRST, LAST):
        sums = sums + (blocks[g - FIRST] + bias[g],)
    return sums


@triton.jit(do_not_specialize=RUNTIME)
def forward_sweep(
    gx_ptr,       # (T, B, D, G*H) input side, b_ih included
    w_ptr,        # (D, G*H, H) recurrent weights
    b_ptr,        # (D, G*H) recurrent bias
    lengths_ptr,  # (B,) int32
    state_ptr,    # (2, D, B, H) the exchanged h: slot 0 holds h_0, step s reads slot s % 2 and writes the other
    aux_ptr,      # (D, B, H) accumulation dtype: c, or what a step of two phases keeps for its second
    reset_ptr,    # (D, B, H) what a step of two phases exchanges for its second
    out_ptr,      # (T, B, D, H)
    cells_ptr,    # (T, B, D, H) every c_t, if the cell has one
    gates_ptr,    # (T, B, D, S*H) what the backward needs, as the cell saves it
    dropped_ptr,  # (T, B, D, H) what dropout leaves of out
    seed_ptr,     # (1,) int64
    counter_ptr,  # (lanes,) int32, zero at launch
    error_ptr,    # (1,) int32
    T, B, H, D, n_slices, n_tiles,
    lane_begin, tick_begin, tick_end, polls, launch_id,
    threshold, scale,  # of dropout, as in the kernels of dropout
    CELL: tl.constexpr, HAS_BIAS: tl.constexpr, HAS_LENGTHS: tl.constexpr, SAVE: tl.constexpr,
    DROP: tl.constexpr,  # "", "each" step its own mask, "shared" by all steps
    EXCHANGE: tl.constexpr, RESIDENT: tl.constexpr, DIGITS: tl.constexpr, UPCAST: tl.constexpr, PRECISION: tl.constexpr,
    ACC: tl.constexpr,
    BLOCK_U: tl.constexpr, BLOCK_B: tl.constexpr, SPLIT: tl.constexpr, BLOCK_K: tl.constexpr, CHUNKS: tl.constexpr,
    GROUP: tl.constexpr,
):  # fmt: skip
    """Program (slice, lane): BLOCK_U units with all their gates, BLOCK_B samples of one direction."""
    G: tl.constexpr = CELL.gates
    S: tl.constexpr = CELL.saved
    LATE: tl.constexpr = CELL.late
    EARLY: tl.constexpr = G - LATE  # products of the first phase
    HAS_C: tl.constexpr = CELL.has_c
    TICKS: tl.constexpr = CELL.phases
    IO: tl.constexpr = out_ptr.dtype.element_ty

    pid = tl.program_id(0)
    lane = lane_begin + pid // n_slices
    d = lane // n_tiles
    units = (pid % n_slices) * BLOCK_U + tl.arange(0, BLOCK_U)
    batch = (lane % n_tiles) * BLOCK_B + tl.arange(0, BLOCK_B)
    unit_mask = units < H
    batch_mask = batch < B
    own = unit_mask[:, None] & batch_mask[None, :]
    step_row = batch.to(tl.int64) * D + d  # row of (B, D): times the width, plus t * B * D rows
    state_row = (d.to(tl.int64) * B + batch) * H  # start of a row of (D, B, H)
    state_own = state_row[None, :] + units[:, None]
    one = tl.full((), 1, tl.int64)
    slot = one * D * B * H
    w_row = (one * d * G * H + units) * H
    gate_stride = one * H * H
    counter_ptr += lane

    if HAS_LENGTHS:
        lengths = tl.load(lengths_ptr + batch, mask=batch_mask, other=0)
    bias = ()
    for g in tl.static_range(G):
        if HAS_BIAS:
            b = tl.load(b_ptr + (d * G + g) * H + units, mask=unit_mask, other=0.0).to(ACC)
        else:
            b = tl.zeros((BLOCK_U,), ACC)
        bias = bias + (b[:, None],)
    tiles = ()
    late_tiles = ()  # of the second phase
    if RESIDENT:
        tiles = load_slice(w_ptr, w_row, H, gate_stride, unit_mask, 0, EARLY, SPLIT, BLOCK_K, CHUNKS)
        late_tiles = load_slice(w_ptr, w_row, H, gate_stride, unit_mask, EARLY, G, SPLIT, BLOCK_K, CHUNKS)

    h = tl.load(state_ptr + (tick_begin // TICKS % 2) * slot + state_own, mask=own, other=0.0).to(ACC)
    aux = tl.zeros((BLOCK_U, BLOCK_B), ACC)
    if HAS_C or LATE > 0:
        aux = tl.load(aux_ptr + state_own, mask=own, other=0.0)

    keep = own
    if DROP != "":
        seed = tl.load(seed_ptr)
    if DROP == "shared":
        keep = kept_at(seed, step_row[None, :] * H + units[:, None], threshold)
    for tick in range(tick_begin, tick_end):
        step = tick // TICKS
        t = step + d * (T - 1 - 2 * step)
        rows = t.to(tl.int64) * B * D + step_row
        own_rows = rows[None, :] * H + units[:, None]
        valid = own
        if HAS_LENGTHS:
            valid = own & (t < lengths)[None, :]
        gx = load_gates(gx_ptr, rows[None, :] * (G * H) + units[:, None], H, valid, G, ACC)

        if EXCHANGE:
            polls = wait(counter_ptr, (tick - tick_begin) * n_slices, polls, error_ptr, launch_id)
            poison = tl.where(polls > 0, 0.0, float("nan"))
        now_ptr = state_ptr + (step % 2) * slot
        next_ptr = state_ptr + ((step + 1) % 2) * slot

        if LATE > 0:
            if tick % 2 == 0:
                a = products(tiles, w_ptr, w_row, gate_stride, unit_mask, now_ptr, state_row, batch_mask, H,
                             0, EARLY, RESIDENT, UPCAST, PRECISION, ACC,
                             BLOCK_U, BLOCK_B, SPLIT, BLOCK_K, CHUNKS, GROUP)  # fmt: skip
                exchanged, aux, saved = CELL.step(gx, biased(a, bias, 0, EARLY), h, aux, DIGITS)
                tl.store(reset_ptr + state_own, (exchanged + poison).to(IO), mask=own)
                arrive(counter_ptr, polls)
                if SAVE:
                    store_gates(gates_ptr, rows[None, :] * (S * H) + units[:, None], H, own, saved, 0, 0, S - LATE)
            else:
                a_late = products(late_tiles, w_ptr, w_row, gate_stride, unit_mask, reset_ptr, state_row,
                                  batch_mask, H, EARLY, G, RESIDENT, UPCAST, PRECISION, ACC,
                                  BLOCK_U, BLOCK_B, SPLIT, BLOCK_K, CHUNKS, GROUP)  # fmt: skip
                new, saved_late = CELL.step_late(gx, biased(a_late, bias, EARLY, G), h, aux, DIGITS)
                new = (new + poison).to(IO).to(ACC)
                h = tl.where(valid, new, h)
                tl.store(next_ptr + state_own, h.to(IO), mask=own)
                arrive(counter_ptr, polls)
                tl.store(out_ptr + own_rows, tl.where(valid, h, 0.0).to(IO), mask=own)
                if DROP == "each":
                    keep = kept_at(seed, own_rows, threshold)
                if DROP != "":
                    tl.store(dropped_ptr + own_rows, scaled(h, valid & keep, scale, ACC).to(IO), mask=own)
                if SAVE:
                    store_gates(
                        gates_ptr, rows[None, :] * (S * H) + units[:, None], H, own, saved_late, S - LATE, 0, LATE
                    )
        else:
            if EXCHANGE:
                a = products(tiles, w_ptr, w_row, gate_stride, unit_mask, now_ptr, state_row, batch_mask, H,
                             0, G, RESIDENT, UPCAST, PRECISION, ACC, BLOCK_U, BLOCK_B, SPLIT, BLOCK_K, CHUNKS, GROUP)  # fmt: skip
            else:
                a = ()
                for g in tl.static_range(G):
                    a = a + (dot(tiles[g], h.to(IO), tl.zeros((BLOCK_U, BLOCK_B), ACC), UPCAST, PRECISION),)
            new, c, saved = CELL.step(gx, biased(a, bias, 0, G), h, aux, DIGITS)
            if HAS_C:
                aux = tl.where(valid, c, aux)
            if EXCHANGE:
                new = new + poison
            h = tl.where(valid, new.to(IO).to(ACC), h)
            if EXCHANGE:
                tl.store(next_ptr + state_own, h.to(IO), mask=own)
                arrive(counter_ptr, polls)
            tl.store(out_ptr + own_rows, tl.where(valid, h, 0.0).to(IO), mask=own)
            if DROP == "each":
                keep = kept_at(seed, own_rows, threshold)
            if DROP != "":
                tl.store(dropped_ptr + own_rows, scaled(h, valid & keep, scale, ACC).to(IO), mask=own)
            if HAS_C:
                tl.store(cells_ptr + own_rows, tl.where(valid, aux, 0.0).to(IO), mask=own)
            if SAVE:
                store_gates(gates_ptr, rows[None, :] * (S * H) + units[:, None], H, own, saved, 0, 0, S)

    if not EXCHANGE:
        tl.store(state_ptr + (tick_end % 2) * slot + state_own, h.to(IO), mask=own)
    if HAS_C or LATE > 0:
        tl.store(aux_ptr + state_own, aux, mask=own)
