"""How the programs of a lane hand each other their slices when the data is its own flag.

What is exchanged starts as all ones in every bit, a NaN that no arithmetic makes: results are the canonical NaN. A reader
repeats its loads until no element is that pattern. Nothing else is counted, fenced or reset. Every element is written once, so
neither the order in which stores become visible nor how many of them do matters. Loads and stores are relaxed at gpu scope, which
the first-level cache does not serve.

Tries are bounded: a thread that has polled in vain sets the error word, goes on with the pattern, which is a NaN, and polls no
more than once from then on; its program's results are NaN, which its neighbours do not wait for.
"""

import triton.language as tl

from fusedrnn.kernels.language import INTERPRETED, gl, jit

if INTERPRETED:

    @jit
    def _absent(x, width: tl.constexpr):
        """How many elements are still the pattern."""
        if width == 16:
            return tl.sum((tl.reshape(x, (x.numel,)).to(tl.int16, bitcast=True) == -1).to(tl.int32), 0)
        elif width == 32:
            return tl.sum((tl.reshape(x, (x.numel,)).to(tl.int32, bitcast=True) == -1).to(tl.int32), 0)
        else:
            return tl.sum((tl.reshape(x, (x.numel,)).to(tl.int64, bitcast=True) == -1).to(tl.int32), 0)

    @jit
    def poll(pointers, polls, error_ptr, launch_id, COUNT: tl.constexpr, EACH: tl.constexpr, IO: tl.constexpr):
        """As the compiled one below; ``polls`` is one number for the program."""
        left = tl.max(tl.reshape(polls, (polls.numel,)), 0)
        found = ()
        failed = left < 0
        for n in tl.static_range(COUNT):
            x = tl.load(pointers[n])
            while (_absent(x, IO.primitive_bitwidth) > 0) & (left > 1):
                x = tl.load(pointers[n])
                left -= 1
            failed = failed | (_absent(x, IO.primitive_bitwidth) > 0)
            found = found + (x,)
        if failed:
            tl.store(error_ptr, launch_id)
        return found + (tl.where(failed, 0, polls),)

    @jit
    def publish(pointers, value, mask, EACH: tl.constexpr):
        """Store what others poll. A NaN becomes the canonical one, as in a GPU's arithmetic; this machine's keeps a user's bits."""
        wide = value.to(tl.float64 if value.dtype.is_fp64() else tl.float32)
        tl.store(pointers, tl.where(wide == wide, wide, float("nan")).to(value.dtype), mask=mask)

else:
    from triton.runtime.jit import constexpr_function

    HALVES = 0x80008000

    @constexpr_function
    def _poll_ptx(count, each):
        """``count`` operands of ``each`` 16-bit elements a thread, 8 neighbours of which lie in one 16-byte load.

        A word w has a half that is all ones where (0xfffefffe - w) & w has the top bit of a half set: the search for a zero
        half, of ~w. Of the 8 addresses that belong to a load the first counts; the others die in the assembler.
        """
        words, elements = count * each // 2, count * each
        addresses = words + each
        polls = addresses + elements
        error, launch = polls + each, polls + 2 * each
        lines = ["{", ".reg .pred p, q;", ".reg .b32 n, a, b, y;", f"mov.b32 n, ${polls};", "L${:uid}:"]
        for k in range(elements // 8):
            four = ", ".join(f"${4 * k + j}" for j in range(4))
            lines.append(f"ld.relaxed.gpu.global.v4.b32 {{{four}}}, [${addresses + 8 * k}];")
        lines.append("mov.b32 a, 0; mov.b32 b, 0;")
        for k in range(words):  # two accumulators, for one would be a chain
            lines.append(f"sub.u32 y, 0xfffefffe, ${k}; lop3.b32 {'ab'[k % 2]}, y, ${k}, {'ab'[k % 2]}, 0xea;")
        lines += [
            f"or.b32 a, a, b; and.b32 a, a, {HALVES:#x}; setp.ne.b32 p, a, 0;",
            "sub.s32 n, n, 1;", "setp.gt.and.s32 q, n, 0, p;", "@q bra L${:uid};",
            f"@p st.relaxed.sys.b32 [${error}], ${launch};",
            f"selp.b32 ${words}, 0, ${polls}, p;",
            *(f"mov.b32 ${words + k}, ${words};" for k in range(1, each)),
            "}",
        ]  # fmt: skip
        return "\n".join(lines)

    @constexpr_function
    def _poll_registers(count, each):
        results = ["=&r"] * (count * each // 2 + each)
        return ",".join(results + ["l"] * (count * each) + ["r"] * each + ["l"] * each + ["r"] * each)

    @constexpr_function
    def _poll_types(count, dtype):
        return (dtype,) * count + (gl.int32,)

    @jit
    def poll(pointers, polls, error_ptr, launch_id, COUNT: tl.constexpr, EACH: tl.constexpr, IO: tl.constexpr):
        """Load ``COUNT`` blocks of pointers until no element is the pattern, at most ``polls`` times (a block, int32).

        ``EACH``: elements a thread of each block, 8 in a row of which are neighbours in memory. Returns the blocks, and what is
        left of ``polls``: 0 after a failure.
        """
        addresses = ()
        for n in gl.static_range(COUNT):
            addresses = addresses + (pointers[n].to(gl.int64),)
        return gl.inline_asm_elementwise(
            _poll_ptx(COUNT, EACH), _poll_registers(COUNT, EACH), addresses + (polls, error_ptr.to(gl.int64), launch_id),
            dtype=_poll_types(COUNT, IO), is_pure=False, pack=EACH,
        )  # fmt: skip

    @constexpr_function
    def _publish_ptx(each):
        """One store of ``each`` neighbours a thread."""
        if each == 1:
            return "{ .reg .pred p; setp.ne.b32 p, $3, 0; @p st.relaxed.gpu.global.b16 [$1], $2; mov.b32 $0, 0; }"
        words = each // 2
        first = 2 * each
        values = ", ".join(f"${first + k}" for k in range(words))
        vector, values = (f".v{words}", f"{{{values}}}") if words > 1 else ("", values)
        done = " ".join(f"mov.b32 ${k}, 0;" for k in range(each))
        store = f"@p st.relaxed.gpu.global{vector}.b32 [${each}], {values};"
        return f"{{ .reg .pred p; setp.ne.b32 p, ${first + words}, 0; {store} {done} }}"

    @constexpr_function
    def _publish_registers(each):
        values = ["h"] if each == 1 else ["r"] * (each // 2)
        return ",".join(["=r"] * each + ["l"] * each + values + ["r"] * each)

    @jit
    def publish(pointers, value, mask, EACH: tl.constexpr):
        """Store a 16-bit block that others poll; ``EACH`` neighbours in memory a thread, all masked or none."""
        gl.inline_asm_elementwise(
            _publish_ptx(EACH), _publish_registers(EACH), (pointers.to(gl.int64), value, mask.to(gl.int32)),
            dtype=gl.int32, is_pure=False, pack=EACH,
        )  # fmt: skip
