"""The exchange between the programs of a lane: a reader polls the data itself. There are no flags, counters or fences.

Exchanged tensors start with all bits one (the pattern), a NaN that arithmetic never produces: a NaN result is the canonical NaN,
which `publish` enforces for float64. A reader repeats its loads until no element is the pattern. Every element is written once,
so the order in which stores become visible does not matter. Loads and stores are relaxed at gpu scope: they bypass the L1 cache,
and every element is read or written as a whole.

The number of polls is bounded. A thread that times out sets the error word, continues with the pattern, a NaN, and from then on
polls only once. The NaN results of its program are canonical, so that other programs do not wait for them.
"""

import triton.language as tl

from fusedrnn.kernels.language import INTERPRETED, gl, jit

if INTERPRETED:
    INTEGERS = {16: tl.int16, 32: tl.int32, 64: tl.int64}

    @jit
    def _absent(x, width: tl.constexpr):
        """Number of elements that are still the pattern."""
        return tl.sum((tl.reshape(x, (x.numel,)).to(INTEGERS[width], bitcast=True) == -1).to(tl.int32), 0)

    @jit
    def poll(pointers, polls, error_ptr, launch_id, COUNT: tl.constexpr, EACH: tl.constexpr, BITS: tl.constexpr):
        """Same as the compiled version below, with one limit per program instead of per element of ``polls``."""
        left = tl.max(tl.reshape(polls, (polls.numel,)), 0)
        found = ()
        failed = left < 0
        for n in tl.static_range(COUNT):
            x = tl.load(pointers[n])
            while (_absent(x, BITS) > 0) & (left > 1):
                x = tl.load(pointers[n])
                left -= 1
            failed = failed | (_absent(x, BITS) > 0)
            found = found + (x,)
        if failed:
            tl.store(error_ptr, launch_id)
        return found + (tl.where(failed, 0, polls),)

    @jit
    def publish(pointers, value, mask, EACH: tl.constexpr, BITS: tl.constexpr):
        """Store a block that others poll. Makes NaNs canonical, as arithmetic on a GPU does; on a CPU they keep their payload."""
        wide = value.to(tl.float64 if value.dtype.is_fp64() else tl.float32)
        tl.store(pointers, tl.where(wide == wide, wide, float("nan")).to(value.dtype), mask=mask)

else:
    from triton.runtime.jit import constexpr_function

    WIDEST = 128
    """Bits of the widest load or store of a thread."""

    @constexpr_function
    def _found(registers, bits):
        """PTX that sets the predicate p if any element in the ``registers`` is the pattern.

        16 bits, two per register: a word w has a half with all bits one if (0xfffefffe - w) & w has the top bit of a half set (the
        usual test for a zero half, applied to ~w). 32 bits: the largest word is compared. 64 bits: the largest upper half is, which
        in a number or a canonical NaN is not all ones. Two accumulators, a and b, halve the chain of dependent instructions.
        """
        lines = ["mov.b32 a, 0; mov.b32 b, 0;"]
        for k in range(registers):
            to = "ab"[k % 2]
            if bits == 16:
                lines.append(f"sub.u32 y, 0xfffefffe, ${k}; lop3.b32 {to}, y, ${k}, {to}, 0xea;")
            else:
                word = f"mov.b32 y, ${k};" if bits == 32 else f"mov.b64 {{z, y}}, ${k};"
                lines.append(f"{word} max.u32 {to}, {to}, y;")
        if bits == 16:
            return [*lines, "or.b32 a, a, b; and.b32 a, a, 0x80008000; setp.ne.b32 p, a, 0;"]
        return [*lines, "max.u32 a, a, b; setp.eq.b32 p, a, 0xffffffff;"]

    @constexpr_function
    def loads(count, each, bits, addresses):
        """PTX that loads ``count`` operands of ``each`` elements per thread, whose addresses begin at operand ``addresses``.

        Every 16 bytes are contiguous in memory, and a load uses the address of its first element; ptxas removes the others.
        """
        elements, at_once = count * each, WIDEST // bits
        a_load = at_once * bits // max(bits, 32)
        lines = []
        for k in range(elements // at_once):
            into = ", ".join(f"${a_load * k + j}" for j in range(a_load))
            lines.append(f"ld.relaxed.gpu.global.v{a_load}.b{max(bits, 32)} {{{into}}}, [${addresses + at_once * k}];")
        return lines

    @constexpr_function
    def _poll_ptx(count, each, bits, begun=False):
        """PTX of `poll`, or if ``begun`` of `poll_on`."""
        elements = count * each
        registers = elements * bits // max(bits, 32)
        addresses = registers + each
        polls = addresses + elements
        error, launch, seen = polls + each, polls + 2 * each, polls + 3 * each
        lines = ["{", ".reg .pred p, q;", ".reg .b32 n, a, b, y, z;", f"mov.b32 n, ${polls};"]
        if begun:
            lines += [*(f"mov.b{bits} ${k}, ${seen + k};" for k in range(registers)), "bra M${:uid};"]
        lines += ["L${:uid}:", *loads(count, each, bits, addresses), *(["M${:uid}:"] if begun else [])]
        lines += [
            *_found(registers, bits),
            "sub.s32 n, n, 1;", "setp.gt.and.s32 q, n, 0, p;", "@q bra L${:uid};",
            f"@p st.relaxed.sys.b32 [${error}], ${launch};",
            f"selp.b32 ${registers}, 0, ${polls}, p;",
            *(f"mov.b32 ${registers + k}, ${registers};" for k in range(1, each)),
            "}",
        ]  # fmt: skip
        return "\n".join(lines)

    REGISTER = {16: "r", 32: "f", 64: "d"}
    """Register constraint of inline assembly by bits per element; two 16-bit elements share a register."""

    @constexpr_function
    def poll_registers(count, each, bits, begun=False):
        """Register constraints of `_poll_ptx`."""
        values = [REGISTER[bits]] * (count * each * bits // max(bits, 32))
        results = [f"=&{value}" for value in values] + ["=&r"] * each
        rest = ["l"] * (count * each) + ["r"] * each + ["l"] * each + ["r"] * each
        return ",".join(results + rest + (values if begun else []))

    @constexpr_function
    def poll_types(count, dtype):
        """Types of what `poll` returns."""
        return (dtype,) * count + (gl.int32,)

    @jit
    def poll(pointers, polls, error_ptr, launch_id, COUNT: tl.constexpr, EACH: tl.constexpr, BITS: tl.constexpr):
        """Load ``COUNT`` blocks of pointers until no element is the pattern, at most ``polls`` times.

        ``polls``: int32 block of the same shape. ``EACH``: elements of a block per thread, every 16 bytes contiguous in memory.
        Returns the blocks, then ``polls`` for the next call: unchanged, or 0 after a timeout.
        """
        addresses = ()
        for n in gl.static_range(COUNT):
            addresses = addresses + (pointers[n].to(gl.int64),)
        IO: tl.constexpr = pointers[0].dtype.element_ty
        return gl.inline_asm_elementwise(
            _poll_ptx(COUNT, EACH, BITS), poll_registers(COUNT, EACH, BITS),
            addresses + (polls, error_ptr.to(gl.int64), launch_id),
            dtype=poll_types(COUNT, IO), is_pure=False, pack=EACH,
        )  # fmt: skip

    @constexpr_function
    def _publish_ptx(each, bits):
        """PTX of `publish` for ``each`` elements per thread, contiguous in memory; stores of at most 16 bytes."""
        first = 2 * each
        registers = max(1, each * bits // max(bits, 32))
        wide = max(bits, 32) if each * bits >= 32 else 16
        a_store = min(registers, WIDEST // wide)
        lines = ["{ .reg .pred p, q;", f"setp.ne.b32 p, ${first + registers}, 0;"]
        if bits == 64:
            lines.append(f".reg .f64 v<{registers}>;")
            for k in range(registers):
                lines.append(
                    f"setp.nan.f64 q, ${first + k}, ${first + k}; selp.f64 v{k}, 0d7FF8000000000000, ${first + k}, q;"
                )
        for k in range(0, registers, a_store):
            values = ", ".join(f"v{k + j}" if bits == 64 else f"${first + k + j}" for j in range(a_store))
            vector, values = (f".v{a_store}", f"{{{values}}}") if a_store > 1 else ("", values)
            lines.append(f"@p st.relaxed.gpu.global{vector}.b{wide} [${each + k * each // registers}], {values};")
        return "\n".join([*lines, *(f"mov.b32 ${k}, 0;" for k in range(each)), "}"])

    @constexpr_function
    def _publish_registers(each, bits):
        kind = "h" if each * bits == 16 else REGISTER[bits]
        values = [kind] * max(1, each * bits // max(bits, 32))
        return ",".join(["=r"] * each + ["l"] * each + values + ["r"] * each)

    @jit
    def publish(pointers, value, mask, EACH: tl.constexpr, BITS: tl.constexpr):
        """Store a block that others poll. A thread's ``EACH`` elements are contiguous in memory, all of them masked or none."""
        gl.inline_asm_elementwise(
            _publish_ptx(EACH, BITS), _publish_registers(EACH, BITS), (pointers.to(gl.int64), value, mask.to(gl.int32)),
            dtype=gl.int32, is_pure=False, pack=EACH,
        )  # fmt: skip
