"""Parts of an exchange beside `poll`: a poll that begins with what is loaded already, and a value of one thread for others.

A reader that waits for two exchanges, one soon after the other, loads the second when the first has arrived, works, and then polls:
so it does not wait for the memory twice.
"""

import triton.language as tl

from fusedrnn.kernels.language import INTERPRETED, gl, jit
from fusedrnn.kernels.poll import poll

if INTERPRETED:

    @jit
    def of_first(x, EACH: tl.constexpr, LANES: tl.constexpr, BITS: tl.constexpr):
        """Same as the compiled version below."""
        first = tl.arange(0, x.shape[0])[:, None] == 0
        return tl.broadcast_to(tl.sum(tl.where(first, x, 0.0), 0)[None, :], x.shape)

    @jit
    def peek(pointers, COUNT: tl.constexpr, EACH: tl.constexpr, BITS: tl.constexpr):
        """Same as the compiled version below."""
        found = ()
        for n in tl.static_range(COUNT):
            found = found + (tl.load(pointers[n]),)
        return found

    @jit
    def poll_on(
        seen, pointers, polls, error_ptr, launch_id, COUNT: tl.constexpr, EACH: tl.constexpr, BITS: tl.constexpr
    ):
        """Same as the compiled version below; loads anew."""
        return poll(pointers, polls, error_ptr, launch_id, COUNT, EACH, BITS)

else:
    from triton.runtime.jit import constexpr_function

    from fusedrnn.kernels.poll import REGISTER, _poll_ptx, loads, poll_registers, poll_types

    @constexpr_function
    def _block_types(count, dtype):
        return (dtype,) * count

    @constexpr_function
    def _peek_ptx(count, each, bits):
        return "\n".join(loads(count, each, bits, count * each))

    @constexpr_function
    def _peek_registers(count, each, bits):
        return ",".join([f"=&{REGISTER[bits]}"] * (count * each) + ["l"] * (count * each))

    @jit
    def peek(pointers, COUNT: tl.constexpr, EACH: tl.constexpr, BITS: tl.constexpr):
        """Load ``COUNT`` blocks once, for `poll_on`; elements of 32 bits or more."""
        addresses = ()
        for n in gl.static_range(COUNT):
            addresses = addresses + (pointers[n].to(gl.int64),)
        IO: tl.constexpr = pointers[0].dtype.element_ty
        return gl.inline_asm_elementwise(
            _peek_ptx(COUNT, EACH, BITS), _peek_registers(COUNT, EACH, BITS), addresses,
            dtype=_block_types(COUNT, IO), is_pure=False, pack=EACH,
        )  # fmt: skip

    @jit
    def poll_on(
        seen, pointers, polls, error_ptr, launch_id, COUNT: tl.constexpr, EACH: tl.constexpr, BITS: tl.constexpr
    ):
        """`poll` that begins with the blocks ``seen`` by `peek` and loads only if they lack an element."""
        addresses = ()
        for n in gl.static_range(COUNT):
            addresses = addresses + (pointers[n].to(gl.int64),)
        IO: tl.constexpr = pointers[0].dtype.element_ty
        return gl.inline_asm_elementwise(
            _poll_ptx(COUNT, EACH, BITS, True), poll_registers(COUNT, EACH, BITS, True),
            addresses + (polls, error_ptr.to(gl.int64), launch_id) + seen,
            dtype=poll_types(COUNT, IO), is_pure=False, pack=EACH,
        )  # fmt: skip

    @constexpr_function
    def _of_first_ptx(each, lanes, bits):
        """PTX of `of_first`: a shuffle within the ``lanes`` threads of a sample, of each 32 bits."""
        words = bits // 32
        shuffle = [f"shfl.sync.idx.b32 v{k}, v{k}, 0, {(32 - lanes) << 8 | 0x1F}, -1;" for k in range(words)]
        names = ", ".join(f"v{k}" for k in range(words))
        names = names if words == 1 else f"{{{names}}}"
        return "\n".join([
            "{", *(f".reg .b32 v{k};" for k in range(words)), f"mov.b{bits} {names}, ${each};", *shuffle,
            *(f"mov.b{bits} ${k}, {names};" for k in range(each)), "}",
        ])  # fmt: skip

    @constexpr_function
    def _of_first_registers(each, bits):
        return ",".join([f"=&{REGISTER[bits]}"] * each + [REGISTER[bits]] * each)

    @jit
    def of_first(x, EACH: tl.constexpr, LANES: tl.constexpr, BITS: tl.constexpr):
        """The first unit of [units, samples] for all units; ``LANES`` threads with ``EACH`` units have a sample."""
        return gl.inline_asm_elementwise(
            _of_first_ptx(EACH, LANES, BITS), _of_first_registers(EACH, BITS), (x,),
            dtype=x.dtype, is_pure=True, pack=EACH,
        )  # fmt: skip
