"""What a step of the backward sweep reads from memory."""

import triton.language as tl

from fusedrnn.kernels.language import gl, jit
from fusedrnn.kernels.tiles import load_gates, rows_at, starts_anew


@jit
def having(step, T, back, own, lengths, HAS_LENGTHS: tl.constexpr):
    """Mask of the program's elements (``own``) for which ``step`` exists: step >= 0 and t inside the sample's length."""
    having = own & (step >= 0)
    if HAS_LENGTHS:
        having = having & (step + back * (T - 1 - 2 * step) < lengths)
    return having


@jit
def inputs(
    read, step, own, lengths,
    CELL: tl.constexpr, HAS_LENGTHS: tl.constexpr, HAS_DCELLS: tl.constexpr, RESETS: tl.constexpr,
):  # fmt: skip
    """Load what a step reads, in the storage dtype: saved values, dout, h and c of the step before, dcells; and resets.

    h and c of the step before are loaded also where the sample starts anew: which they are is not waited for.
    """
    (gates_ptr, out_ptr, cells_ptr, h0_ptr, c0_ptr, anew_ptr, dout_ptr, dcells_ptr,
     T, B, H, D, back, row, state_own, units) = read  # fmt: skip
    S: tl.constexpr = CELL.saved
    valid = having(step, T, back, own, lengths, HAS_LENGTHS)
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
