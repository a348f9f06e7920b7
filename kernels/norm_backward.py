"""Layer normalisation in the backward sweep (`norm`).

The gradient of h from W_hh h is linear in what the programs exchange: W^T d with the centred rows of W_hh times their gains, d the
gradient of the normalised product, minus a sum over all units and gates times a vector that is known before the sweep. A program
publishes its part of the sum after its part of d, and a reader looks for it when d has arrived, before it multiplies.

``sums``: sums_ptr, its size of a step, T, what `gather_at` returns, H, error_ptr, launch_id.
"""

import triton.language as tl

from fusedrnn.kernels.language import gl, jit
from fusedrnn.kernels.norm import (
    a_thread,
    addresses,
    over_programs,
    poll_sums,
    publish_sums,
    sums_of_two,
    two_over_programs,
)
from fusedrnn.kernels.peek import poll_on
from fusedrnn.kernels.products import partial, summed
from fusedrnn.kernels.tiles import load_gates, rows_at


@jit
def backward_inputs(read, step, samples, own, CELL: tl.constexpr):
    """Load what normalisation adds to what a step of the backward sweep reads, in the storage dtype.

    Returns for the step gain * norm(product), G blocks; for the step after scale [1, samples] and v (`gather`); and if
    there is a c, norm(c') of the step and its scale [1, samples].
    """
    weighted_ptr, scale_ptr, v_ptr, plain_c_ptr, scale_c_ptr, T, B, H, D, back, row, units = read
    G: tl.constexpr = CELL.gates
    now, after = rows_at(step, T, B, D, row, back), rows_at(step + 1, T, B, D, row, back)
    weighted = load_gates(weighted_ptr, now * (G * H) + units, H, own & (step >= 0), G)
    scale = gl.load(scale_ptr + after, mask=(samples < B) & (step + 1 < T), other=0.0)
    v = gl.load(v_ptr + (after * H + units), mask=own & (step + 1 < T), other=0.0)
    plain_c, scale_c = v, scale
    if CELL.has_c:
        plain_c = gl.load(plain_c_ptr + (now * H + units), mask=own & (step >= 0), other=0.0)
        scale_c = gl.load(scale_c_ptr + now, mask=(samples < B) & (step >= 0), other=0.0)
    return weighted, scale, v, plain_c, scale_c


@jit
def gather(
    tiles, w, x_ptr, x_lane, polls, sums, step, total, sum_polls, inputs,
    CELL: tl.constexpr, ACC: tl.constexpr, NORM: tl.constexpr, TILES: tl.constexpr,
):  # fmt: skip
    """The gradient of h from W_hh h of the step after: scale * (W^T d) - total * v / (G * H).

    total = the sum of gain * d * norm(W_hh h), v = scale * W^T norm(W_hh h) without the gains. A single program passes the total.
    Returns the gradient, the total, and both polls. The caller calls `left` before the next product.
    """
    G: tl.constexpr = CELL.gates
    sums_ptr, size, _, meeting, H, error_ptr, launch_id = sums
    if NORM > 1:
        KINDS: tl.constexpr = 3 if CELL.has_c else 1
        EACH: tl.constexpr = a_thread(NORM, TILES, KINDS)
        more = addresses(sums_ptr + size * (step + 1), meeting, 0, 1, NORM)
        accs, polls, seen = partial(tiles, w, x_ptr, x_lane, polls, 0, 0, G, 1, ACC, TILES, more, EACH)
        found = poll_on(seen, more, sum_polls, error_ptr, launch_id, 1, EACH, max(TILES.bits, 32))
        total, sum_polls = over_programs(found[0], NORM, TILES), found[1]
    else:
        accs, polls = partial(tiles, w, x_ptr, x_lane, polls, 0, 0, G, 1, ACC, TILES)
    product = summed(accs, 1, ACC, TILES)
    return product[0] * inputs[1] - (total * (1.0 / (H * G).to(ACC))) * inputs[2].to(ACC), total, polls, sum_polls


@jit
def hand_in(
    dgates, valid, inputs, sums, step, CELL: tl.constexpr, ACC: tl.constexpr, NORM: tl.constexpr, TILES: tl.constexpr
):
    """A program's part of the step's total, [1, samples]; published if there are others."""
    FROM: tl.constexpr = CELL.exchanged_from
    G: tl.constexpr = CELL.gates
    part = dgates[FROM] * inputs[0][0].to(ACC)
    for g in gl.static_range(1, G):
        part += dgates[FROM + g] * inputs[0][g].to(ACC)
    part = gl.sum(gl.where(valid, part, 0.0), 0).expand_dims(0)
    if NORM > 1:
        publish_sums(sums[0] + sums[1] * step, sums[3], (part,), step >= 0, 0, 1, NORM, TILES)
    return part


@jit
def state_gradient(d, inputs, sums, step, polls, ACC: tl.constexpr, NORM: tl.constexpr, TILES: tl.constexpr):
    """The gradient of c' from that of norm(c'), and ``polls``. Before the first step zeros are polled, those of step T."""
    sums_ptr, size, T, meeting, H, error_ptr, launch_id = sums
    plain_c, inverse = inputs[3].to(ACC), 1.0 / H.to(ACC)
    total, along = sums_of_two(d, d * plain_c, 0)
    total, along = total.expand_dims(0), along.expand_dims(0)
    if NORM > 1:
        publish_sums(sums_ptr + size * step, meeting, (total, along), step >= 0, 1, 2, NORM, TILES)
        polled_ptr = sums_ptr + size * gl.where(step >= 0, step, T)
        totals, alongs, polls = poll_sums(polled_ptr, meeting, polls, (error_ptr, launch_id), 1, 2, 3, NORM, TILES)
        total, along = two_over_programs(totals, alongs, NORM, TILES)
    return inputs[4] * (d - total * inverse - plain_c * (along * inverse)), polls
