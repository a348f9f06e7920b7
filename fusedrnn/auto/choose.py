"""The way from a call of the backend "auto" to its decision, short for calls that this process has seen."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch._C import _is_tracing
from torch.nn import Parameter

from fusedrnn.auto import settle
from fusedrnn.auto.decision import Decision, torchs
from fusedrnn.auto.kind import Exact, Kind, exact, kind_of
from fusedrnn.backends import triton
from fusedrnn.call import Call, Result
from fusedrnn.context import readable

PLAIN = {Tensor, Parameter}
MOST_KNOWN = 1 << 14
"""Calls that a process remembers by their exact sizes."""

Noticed = tuple[torch.device, Kind]
_noticed: list[Noticed] | None = None
_now = threading.local()
"""`rows`: those of the call that this thread is about to run."""

NOT_ON_A_GPU = torchs("the input is not on a GPU")
TRACED = torchs("the call is traced")
NOW_UNDECIDED = torchs("nothing is known yet, and nothing can be measured now")
"""For a call in a CUDA graph capture, of fake tensors or inside a backward: the next one may be measured."""


def chosen(call: Call) -> Decision:
    """The decision for `call`, which the backend "auto" has to place."""
    if not on_gpu(call):
        return NOT_ON_A_GPU
    if torch.compiler.is_compiling() or _is_tracing():
        return TRACED
    if _noticed is not None:
        kinds = (kind_of(call, training) for training in (True, False))
        _noticed.extend((call.input.device, kind) for kind in kinds if kind is not None)
        return NOW_UNDECIDED
    key = exact(call)
    found = settle.by_exact.get(key)
    return _find(call, key) if found is None else found


def on_gpu(call: Call) -> bool:
    """Whether the tensors of `call` are on a CUDA device."""
    return call.input.is_cuda


def _find(call: Call, key: Exact) -> Decision:
    if not PLAIN.issuperset((type(call.input), type(call.weights.flat[0]))):
        return torchs("a tensor is of a subclass")  # such as torch's ExpandedWeight: the kernels have no rules for it
    kind = kind_of(call)
    if kind is None:
        return torchs("the call is empty, or of a dtype that the kernels do not have")
    device, measurable = call.input.device, can_measure(call)
    found = settle.by_kind.get((device, kind))
    if found is None:
        if not measurable:
            return NOW_UNDECIDED
        found = settle.settle(kind, device)
    if len(settle.by_exact) >= MOST_KNOWN:
        settle.by_exact.clear()
    settle.by_exact[key] = found
    return found


def can_measure(call: Call) -> bool:
    """Whether this is a moment for a measurement: not while a CUDA graph is captured, and not inside a backward.

    A measurement runs a backward in a thread of its own, which waits for the one that is running.
    """
    if torch._C._current_graph_task_id() != -1:
        return False
    return all(readable(tensor) for tensor in (call.input, call.weights.flat[0]))


@contextmanager
def noticed() -> Iterator[list[Noticed]]:
    """Within the block no call of the backend "auto" is decided, and torch's own runs all.

    Their devices and kinds are listed, for training and for inference.
    """
    global _noticed
    found: list[Noticed] = []
    _noticed = found
    try:
        yield found
    finally:
        _noticed = None


def kernels_chosen(call: Call) -> bool:
    """Whether the kernels are to run `call`. If so, `run` is the next thing that this thread calls here, and gets the rows."""
    found = chosen(call)
    if found.backend != "triton":
        return False
    _now.rows = found.rows
    return True


def run(call: Call) -> Result:
    """Run `call` with the kernels, after `kernels_chosen`."""
    return triton.run(call, _now.rows)
