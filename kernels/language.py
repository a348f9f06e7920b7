"""The language of the sweeps: Gluon when kernels are compiled, and a replacement with the same names in Triton's interpreter.

Gluon has no interpreter. It adds explicit layouts, shared memory and tensor-core instructions to Triton. The replacement ignores
layouts, keeps a shared memory allocation as a Python object, and maps every other name to that of ``tl``.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import triton
import triton.language as tl

from fusedrnn.kernels.launch import INTERPRETED

if INTERPRETED:

    def _number(x: Any) -> int:
        """Convert a scalar of the interpreter, a constexpr or a number to int."""
        if hasattr(x, "handle"):
            return int(x.handle.data.item())
        return _number(x.value) if hasattr(x, "value") else int(x)

    class _Layout:
        def __init__(self, *_: Any) -> None:
            pass

    class _Box:
        """A shared memory allocation of one program."""

        def __init__(self) -> None:
            self.value: Any = None

        def store(self, value: Any) -> None:
            self.value = value

        def load(self, layout: Any) -> Any:
            return self.value

    gl: Any = SimpleNamespace(
        int32=tl.int32,
        int64=tl.int64,
        NVMMADistributedLayout=_Layout,
        DotOperandLayout=_Layout,
        SliceLayout=_Layout,
        BlockedLayout=_Layout,
        SwizzledSharedLayout=_Layout,
        allocate_shared_memory=lambda dtype, shape, layout: _Box(),
        static_range=lambda *limits: range(*map(_number, limits)),
        arange=lambda start, end, layout: tl.arange(_number(start), _number(end)),
        full=lambda shape, value, dtype, layout: tl.full([_number(n) for n in shape], value, dtype),
        load=lambda pointer, mask=None, other=None: tl.load(pointer, mask=mask, other=other),
        store=lambda pointer, value, mask=None: tl.store(pointer, value, mask=mask),
        where=lambda condition, x, y: tl.where(condition, x, y),  # lambdas: the interpreter patches tl while it runs
        minimum=lambda x, y: tl.minimum(x, y),
        sum=lambda x, axis: tl.sum(x, axis),
        reduce=lambda blocks, axis, _: tuple(tl.sum(x, axis) for x in blocks),  # sums are the only ones
        reshape=lambda x, shape: tl.reshape(x, [_number(n) for n in shape]),
        convert_layout=lambda x, layout: x,
        program_id=lambda axis: tl.program_id(axis),
    )
    jit: Any = triton.jit

    def barrier() -> None:
        """Do nothing: in the interpreter a program has one thread."""

    def mma(w: Any, x: Any, acc: Any) -> Any:
        """acc + w @ x, batched over the first dimension. Widens 16-bit operands, whose product is unreliable here."""
        if acc.dtype == tl.float64:
            return tl.dot(w, x, acc, out_dtype=tl.float64)
        return tl.dot(w.to(tl.float32), x.to(tl.float32), acc, input_precision="ieee")

else:
    from triton.experimental import gluon
    from triton.experimental.gluon import language as gl  # type: ignore[no-redef]
    from triton.experimental.gluon.language.nvidia.ampere import mma_v2 as mma  # noqa: F401

    jit = gluon.jit
    barrier = gl.barrier if hasattr(gl, "barrier") else gl.thread_barrier  # Triton 3.7, 3.6
